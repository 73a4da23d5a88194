"""Writers of one SQLite file get the write lock in order; it is released if a writer dies."""

import os
import secrets
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError
from django.db.utils import ConnectionHandler

from taskyard.core.database_errors import is_outage
from taskyard.server.database import database
from taskyard.server.sqlite.fair_lock import LONG_SECONDS, FairLock
from tests.live_system import clean_environment
from tests.servers import ROOT

Connect = Callable[..., Any]
PATIENCE_SECONDS = 0.3


@pytest.fixture(autouse=True)
def _allowed(django_db_blocker: Any) -> Iterator[None]:
    """These tests bring connections of their own."""
    with django_db_blocker.unblock():
        yield


@pytest.fixture
def connect(tmp_path: Path) -> Iterator[Connect]:
    """Connections to one file; a writer that waits longer than PATIENCE_SECONDS gives up.

    ``connect(patience=None)`` waits as long as the product does.
    """
    made: list[Any] = []

    def new(patience: float | None = PATIENCE_SECONDS) -> Any:
        made.append(connection_to(tmp_path, patience))
        return made[-1]

    with new().cursor() as cursor:
        cursor.execute("CREATE TABLE line (said TEXT)")
    yield new
    for connection in made:
        connection.close()


def connection_to(home: Path, patience: float | None = PATIENCE_SECONDS) -> Any:
    given = database(None, home=home, for_worker=False)
    if patience is not None:
        given["OPTIONS"]["timeout"] = patience
    made = ConnectionHandler({"default": given})["default"]
    made.inc_thread_sharing()
    return made


@contextmanager
def transaction(connection: Any) -> Iterator[None]:
    """A transaction like ``atomic``, for a connection without an alias."""
    connection.set_autocommit(False, force_begin_transaction_with_broken_autocommit=True)
    try:
        yield
        connection.commit()
    except BaseException:
        connection.rollback()
        raise
    finally:
        connection.set_autocommit(True)


def say(connection: Any, what: str) -> None:
    with transaction(connection), connection.cursor() as cursor:
        cursor.execute("INSERT INTO line VALUES (%s)", [what])


def said(connection: Any) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT said FROM line ORDER BY rowid")
        return [what for (what,) in cursor.fetchall()]


def test_threads_that_write_at_once_all_get_their_turn(connect: Connect) -> None:
    connections = [connect(patience=None) for _ in range(8)]
    threads = [
        threading.Thread(target=lambda each=each: [say(each, "x") for _ in range(50)])
        for each in connections
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(said(connections[0])) == 400


def test_a_thread_waits_for_another_and_no_longer_than_it_may(connect: Connect) -> None:
    one, other = connect(), connect()
    with transaction(one):
        with pytest.raises(OperationalError, match="locked"):
            say(other, "too soon")
        late = threading.Timer(PATIENCE_SECONDS / 2, say, (other, "in time"))
        late.start()
    late.join()
    assert said(one) == ["in time"]


def test_it_waits_for_another_process_and_no_longer_than_it_may(
    connect: Connect, tmp_path: Path
) -> None:
    connection = connect()
    # To SQLite, a connection outside of our backend is another process.
    path = tmp_path / "taskyard.sqlite3"
    with closing(sqlite3.connect(path, check_same_thread=False)) as foreign:
        foreign.execute("BEGIN IMMEDIATE")
        with pytest.raises(OperationalError, match="locked"):
            say(connection, "too soon")
        late = threading.Timer(PATIENCE_SECONDS / 2, foreign.commit)
        late.start()
        say(connection, "in time")
        late.join()
    assert said(connection) == ["in time"]


@pytest.mark.parametrize("end", ["rollback", "close"])
def test_a_turn_ends_with_a_transaction_that_is_not_committed(connect: Connect, end: str) -> None:
    one, other = connect(), connect()

    def fail() -> None:
        with transaction(one):
            if end == "close":
                one.close()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    say(other, "next")
    assert said(other) == ["next"]


# In a process of its own: the tests' process has threads of many libraries, and a child could
# inherit a lock that one of them holds.
FORKS_WHILE_A_THREAD_WRITES = """
import faulthandler, os, signal, threading
from pathlib import Path
import django
django.setup()
from tests.server.test_sqlite import PATIENCE_SECONDS, connection_to, say, transaction

faulthandler.register(signal.SIGALRM, chain=True)  # a process that hangs says where, and ends
signal.alarm(50)

one, other = connection_to(Path.cwd()), connection_to(Path.cwd())
begun = threading.Event()

def write():
    with transaction(one):
        begun.set()
        threading.Event().wait(PATIENCE_SECONDS / 3)

writer = threading.Thread(target=write)
writer.start()
assert begun.wait(30)
child = os.fork()
if not child:
    signal.alarm(40)
    try:
        say(connection_to(Path.cwd()), "child")
    except BaseException:
        os._exit(1)
    os._exit(0)
writer.join()
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
say(other, "parent")
"""


def test_a_process_that_is_forked_while_a_thread_writes_can_write(
    connect: Connect, tmp_path: Path
) -> None:
    subprocess.run(
        [sys.executable, "-c", FORKS_WHILE_A_THREAD_WRITES],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        timeout=60,
        check=True,
    )
    assert said(connect()) == ["child", "parent"]


def test_what_is_not_in_a_transaction_waits_as_before(connect: Connect, tmp_path: Path) -> None:
    connection = connect()
    say(connection, "first")
    with closing(sqlite3.connect(tmp_path / "taskyard.sqlite3", check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        late = threading.Timer(PATIENCE_SECONDS / 3, other.commit)
        late.start()
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO line VALUES ('second')")
        late.join()
    assert said(connection) == ["first", "second"]


def test_threads_that_have_waited_long_get_their_turn_in_the_order_of_waiting() -> None:
    turns, order = FairLock(), []
    assert turns.acquire(timeout=1)

    def take(number: int) -> None:
        assert turns.acquire(timeout=10)
        order.append(number)
        turns.release()

    threads = [threading.Thread(target=take, args=(number,)) for number in range(20)]
    for number, thread in enumerate(threads, start=1):
        thread.start()
        while len(turns._waiters) < number:
            time.sleep(0.001)
    assert not turns.acquire(timeout=2 * LONG_SECONDS)
    turns.release()
    for thread in threads:
        thread.join()
    assert order == list(range(20))


@pytest.mark.parametrize("alone", [False, True], ids=["transactions", "single statements"])
def test_a_process_with_many_writers_leaves_another_its_turns(
    connect: Connect, *, alone: bool
) -> None:
    """The other process soon gets the lock, with any number of threads in this one."""
    own = [connect() for _ in range(6)]
    child = os.fork()
    if not child:
        try:
            connection = ConnectionHandler({"default": own[0].settings_dict})["default"]
            connection.settings_dict["OPTIONS"]["timeout"] = 30
            for _ in range(40):
                write(connection, "other", alone=alone)
        except BaseException:
            os._exit(1)
        os._exit(0)
    over = threading.Event()

    def go_on(connection: Any) -> None:
        connection.settings_dict["OPTIONS"]["timeout"] = 30
        while not over.is_set():
            write(connection, "own", alone=alone)

    threads = [threading.Thread(target=go_on, args=(each,)) for each in own]
    for thread in threads:
        thread.start()
    status = os.waitpid(child, 0)[1]
    over.set()
    for thread in threads:
        thread.join()
    assert os.waitstatus_to_exitcode(status) == 0
    lines = said(own[0])
    assert lines.count("other") == 40
    assert "own" in lines


def write(connection: Any, what: str, *, alone: bool) -> None:
    if not alone:
        say(connection, what)
        return
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO line VALUES (%s)", [what])


def test_a_write_outside_a_transaction_waits_for_its_turn(connect: Connect) -> None:
    one, other = connect(), connect()
    with transaction(one):
        begun = time.monotonic()
        with pytest.raises(OperationalError, match="locked") as caught:
            write(other, "too soon", alone=True)
        assert is_outage(caught.value)
        assert time.monotonic() - begun < 5
    write(other, "in time", alone=True)
    assert said(one) == ["in time"]


@pytest.mark.parametrize("command", [["migrate", "-v", "0"], ["doctor"], ["manage", "check"]])
def test_a_command_makes_the_folder_that_it_needs(tmp_path: Path, command: list[str]) -> None:
    home = tmp_path / "new" / "home"
    given = {"TASKYARD_HOME": str(home), "DJANGO_SECRET_KEY": secrets.token_hex(32)}
    done = subprocess.run(
        [sys.executable, "-m", "taskyard.server.cli", *command],
        env={**clean_environment(), **given},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    if command[0] == "migrate":
        assert done.returncode == 0, done.stderr
        assert (home / "taskyard.sqlite3").exists()
        assert home.stat().st_mode & 0o777 == 0o700
