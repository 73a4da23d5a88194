"""`taskyard up` starts all parts, restarts them, and leaves no process behind."""

import http.client
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import psutil
import pytest

from tests.conftest import fresh_database
from tests.live_system import clean_environment

pytestmark = pytest.mark.servers


class Up:
    """A supervisor with its own TASKYARD_HOME and a free port."""

    def __init__(self, home: Path, **environment: str) -> None:
        self.home = home
        self.errors = home.with_suffix(".stderr")
        with self.errors.open("wb") as errors:
            self.process = psutil.Popen(
                [sys.executable, "-m", "taskyard.server.cli", "up"],
                env={
                    **clean_environment(),
                    "TASKYARD_HOME": str(home),
                    "TASKYARD_CONCURRENCY": "2",
                    "PORT": "0",
                    **environment,
                },
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )

    def wait_for_the_address(self) -> str:
        self.line = self.process.stdout.readline()
        assert self.line, self.errors.read_text()
        found = re.fullmatch(r"Taskyard is ready at (http://127\.0\.0\.1:\d+/)\n", self.line)
        assert found, self.line
        return found[1]

    def family(self) -> list[psutil.Process]:
        """The supervisor and all its descendants."""
        return [self.process, *self.process.children(recursive=True)]

    def whole_family(self) -> list[psutil.Process]:
        """Wait for the supervisor, broker, web, worker and its two processes; return them."""
        deadline = time.monotonic() + 10
        while len(family := self.family()) < 6:
            assert time.monotonic() < deadline, family
            time.sleep(0.05)
        return family

    def child(self, what: str) -> psutil.Process | None:
        """The living child that has this word in its command line."""
        for process in self.process.children():
            with suppress(psutil.NoSuchProcess):  # a zombie too
                if what in " ".join(process.cmdline()):
                    return process
        return None


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Callable[..., Up]]:
    started: list[Up] = []
    with ExitStack() as stack:
        given = fresh_database(stack)

        def start(**environment: str) -> Up:
            started.append(Up(tmp_path / "home", **{**given, **environment}))
            return started[-1]

        yield start
        for one in started:
            family = one.family() if one.process.is_running() else []
            for process in family:
                process.kill()
            psutil.wait_procs(family, timeout=10)
            one.process.wait()
            one.process.stdout.close()


def get(address: str, path: str) -> int:
    connection = http.client.HTTPConnection(address.split("/")[2], timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()


def gone(processes: list[psutil.Process], *, seconds: float) -> list[psutil.Process]:
    """The processes that still exist after a timeout; zombies of another parent do not count."""
    _, alive = psutil.wait_procs(processes, timeout=seconds)
    return [p for p in alive if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


def test_it_says_one_line_and_sigterm_leaves_nothing(up: Callable[..., Up]) -> None:
    one = up()
    address = one.wait_for_the_address()
    assert get(address, "/livez") == 200
    assert get(address, "/readyz") == 200
    family = one.whole_family()
    one.process.send_signal(signal.SIGTERM)
    assert one.process.wait(timeout=30) == 0
    assert gone(family, seconds=1) == []
    assert one.process.stdout.read() == ""
    assert not (one.home / "broker-url").exists()


def test_its_own_sigkill_leaves_nothing_and_the_next_start_succeeds(up: Callable[..., Up]) -> None:
    one = up()
    one.wait_for_the_address()
    family = one.whole_family()
    one.process.kill()
    assert gone(family, seconds=10) == []
    up().wait_for_the_address()


def test_a_second_on_the_same_home_is_refused_in_one_line(up: Callable[..., Up]) -> None:
    one = up()
    one.wait_for_the_address()
    second = subprocess.run(
        [sys.executable, "-m", "taskyard.server.cli", "up"],
        env={**clean_environment(), "TASKYARD_HOME": str(one.home), "PORT": "0"},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert second.returncode == 1
    assert second.stdout == ""
    assert second.stderr == f"taskyard: already running on {one.home}\n"
    assert "starting it again" not in one.errors.read_text()
    assert one.process.is_running()


def test_a_taken_port_is_refused_in_one_line(up: Callable[..., Up]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        one = up(PORT=str(port))
        assert one.process.wait(timeout=30) == 1
    assert one.errors.read_text() == f"taskyard: port {port} on 127.0.0.1 is taken; set PORT\n"


@pytest.mark.parametrize("what", ["cli web", "celery", "valkey"])
def test_a_dead_child_is_started_again(up: Callable[..., Up], what: str) -> None:
    one = up()
    address = one.wait_for_the_address()
    first = one.child(what)
    assert first
    first.kill()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        again = one.child(what)
        if again and again.pid != first.pid and get(address, "/readyz") == 200:
            break
        time.sleep(0.1)
    else:
        raise AssertionError(one.errors.read_text())
    assert "starting it again" in one.errors.read_text()


def test_what_it_keeps_is_for_its_owner_only(up: Callable[..., Up]) -> None:
    one = up()
    one.wait_for_the_address()
    assert one.home.stat().st_mode & 0o777 == 0o700
    for name in ("secret-key", "broker-url", "lock", "broker/valkey.conf"):
        assert (one.home / name).stat().st_mode & 0o777 == 0o600
    password = re.search(r":(\S+)@", (one.home / "broker-url").read_text())
    assert password
    assert password[1] not in " ".join(" ".join(p.cmdline()) for p in one.family())


def test_a_later_start_serves_the_same_home(up: Callable[..., Up]) -> None:
    for _ in range(2):
        one = up()
        one.wait_for_the_address()
        one.process.send_signal(signal.SIGTERM)
        assert one.process.wait(timeout=30) == 0


def test_a_database_that_is_away_is_one_line(up: Callable[..., Up]) -> None:
    one = up(DATABASE_URL="postgresql://nobody@127.0.0.1:1/none")
    assert one.process.wait(timeout=30) == 2
    assert one.errors.read_text().count("\n") == 1
    assert "the database cannot be used" in one.errors.read_text()


def test_doctor_finds_a_running_installation_well(up: Callable[..., Up]) -> None:
    one = up()
    one.wait_for_the_address()
    environment = {**clean_environment(), "TASKYARD_HOME": str(one.home)}
    if url := one.process.environ().get("DATABASE_URL"):
        environment["DATABASE_URL"] = url
    found = subprocess.run(
        [sys.executable, "-m", "taskyard.server.cli", "doctor"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert found.returncode == 0, found.stdout + found.stderr
    assert "WRONG" not in found.stdout
