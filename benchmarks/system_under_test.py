"""The system under test: two webs on one port, one worker of two processes.

Its database is a fresh one on a given PostgreSQL, or SQLite; its broker is its own.
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Self

import psutil
import psycopg

from benchmarks import services
from benchmarks.figures import until
from benchmarks.load import CREATE_PATH, Target
from benchmarks.sockets import bound_socket
from benchmarks.system import COUNT_ACTIVE, NO_LIMITS, books, fill
from taskyard.server import child_process
from tests import servers
from tests.live_system import Live

USERS = 1000
BACKLOG = 8192
START_SECONDS = 40.0
PATIENCE_SECONDS = 300.0

# Users and their tokens, made in process: hashing a password takes longer than a thousand creates.
OPEN_ACCOUNTS = """
from django.core.management import call_command
from taskyard.accounts import tokens
from taskyard.accounts.models import User
from taskyard.core import lifecycle
call_command("migrate", verbosity=0)
new = [User(username=f"owner-{{n}}", password=f"!{{n}}") for n in range({users})]
for user in User.objects.bulk_create(new):
    lifecycle.open_quota(user.pk)
    print(tokens._for_user(tokens.AccessToken, user))
"""


class SystemUnderTest(Live):
    """`with Yard(...) as yard`: migrated, webs up, users made; a worker only when asked for."""

    def __init__(
        self, directory: Path, environment: dict[str, str], *, webs: int, users: int
    ) -> None:
        super().__init__(directory, environment)
        self._webs_wanted = webs
        self._users = users
        # Bound at once, because another program may take a free port before it is bound.
        self._reserved = bound_socket(0)
        self._listeners: list[socket.socket] = []
        self.port = int(self._reserved.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self.env["PORT"] = str(self.port)
        self.webs: list[subprocess.Popen[bytes]] = []
        self.tokens: tuple[str, ...] = ()

    def __enter__(self) -> Self:
        try:
            # With a folder, a command has the same secret key as the webs.
            self.home.mkdir(parents=True, exist_ok=True)
            self.start_broker()
            made = self.command(
                *("manage", "shell", "--no-imports", "-c"), OPEN_ACCOUNTS.format(users=self._users)
            )
            self.tokens = tuple(made.split())
            assert len(self.tokens) == self._users
            self.start_webs(self._webs_wanted)
        except BaseException:
            self.close()
            sys.stderr.write(self.log_tail())
            raise
        return self

    def close(self) -> None:
        self.stop_webs()
        self._reserved.close()
        super().close()

    @property
    def target(self) -> Target:
        return Target(self.port, CREATE_PATH, self.tokens)

    @property
    def broker_pid(self) -> int:
        assert self._broker_process is not None
        return self._broker_process.pid

    def start_webs(self, count: int) -> None:
        """Start web processes on one port, each with a socket of its own.

        On one inherited socket, the process that wakes first accepts all waiting connections: of
        32 connections that were opened at once, one web got none, and they stay open.
        """
        log: IO[bytes]
        with self.log.open("ab") as log:
            for _ in range(count):
                listener = bound_socket(self.port)
                listener.listen(BACKLOG)
                self._listeners.append(listener)
                self.webs.append(
                    subprocess.Popen(
                        [
                            *(sys.executable, "-m", "taskyard.server.cli"),
                            *("web", "--fd", str(listener.fileno())),
                        ],
                        env=self.env,
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=log,
                        pass_fds=(listener.fileno(),),
                        start_new_session=True,
                        preexec_fn=child_process.die_with_parent(os.getpid(), signal.SIGKILL),
                    )
                )
        self._web = self.webs[0]
        self._wait_for_all()
        self.wait_until_ready()

    def _wait_for_all(self) -> None:
        """Until every web accepts."""
        inodes = [os.fstat(listener.fileno()).st_ino for listener in self._listeners]
        deadline = time.monotonic() + START_SECONDS
        while not all(_polls(web.pid, inode) for web, inode in zip(self.webs, inodes, strict=True)):
            assert time.monotonic() < deadline, "a web did not start"
            time.sleep(0.05)

    def stop_webs(self) -> None:
        # Our own copy first, because connections would go on waiting in it.
        for listener in self._listeners:
            listener.close()
        self._listeners = []
        child_process.stop(self.webs, seconds=10)
        self.webs = []
        self._web = None

    def completed(self) -> int:
        with books(self) as ask:
            return int(ask("SELECT coalesce(sum(completed), 0) FROM taskyard_quota")[0][0])

    def settle(self) -> None:
        """Run ANALYZE and CHECKPOINT before the clock starts, as for every peer."""
        if url := self.env.get("DATABASE_URL"):
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute("VACUUM ANALYZE")
                connection.execute("CHECKPOINT")

    def drain(self, count: int, *, owners: int = USERS, processes: int = 2) -> float:
        """Process a backlog of sums; tasks a second, from the first end until all have ended.

        Tasks that an earlier measurement left are processed first.
        """
        with books(self) as ask:
            if ask(COUNT_ACTIVE)[0][0]:
                self._work(lambda: not ask(COUNT_ACTIVE)[0][0], 2)
            last = fill(self, count, owners)
            self.settle()
            seen = self._work(lambda: not ask(COUNT_ACTIVE)[0][0], processes)
            done, first = ask(
                "SELECT count(*), min(finished_at) FROM taskyard_task"
                f" WHERE id > {last} AND status = 'completed'"
            )[0]
            assert done == count, f"{done} of {count} completed"
        return count / (seen - _epoch(first))

    def _work(self, done: Callable[[], bool], processes: int) -> float:
        """Let a worker run until no task is active; return the time."""
        worker = self.start_worker(TASKYARD_CONCURRENCY=str(processes))
        try:
            until(done, PATIENCE_SECONDS, "the backlog worked off")
            return time.time()
        finally:
            self.stop_worker(worker)


def _epoch(moment: object) -> float:
    """Read a time of the database; SQLite's is a text without a zone."""
    read = datetime.fromisoformat(str(moment))
    return (read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp()


def _polls(pid: int, inode: int) -> bool:
    """Whether a process waits for connections on this socket (proc(5), fdinfo of an epoll)."""
    for file in Path(f"/proc/{pid}/fdinfo").glob("*"):
        try:
            if f"ino:{inode:x} " in file.read_text():
                return True
        except OSError:
            continue
    return False


@contextmanager
def system_under_test(
    server: str | None, *, webs: int = 2, users: int = USERS, **environment: str
) -> Iterator[SystemUnderTest]:
    """Start a system on a fresh database of this PostgreSQL, or on SQLite if it is None."""
    common = server is not None and (webs, users, environment) == (2, USERS, {})
    if common and (kept := services.kept()) is not None:
        own = kept.get("yard") or kept["stack"].enter_context(_made(server, webs, users, {}))
        kept["yard"] = own
        yield own
        while own.workers:
            own.stop_worker()
        return
    with _made(server, webs, users, environment) as own:
        yield own


@contextmanager
def _made(
    server: str | None, webs: int, users: int, environment: dict[str, str]
) -> Iterator[SystemUnderTest]:
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="taskyard-yard-")))
        given = {
            **NO_LIMITS,
            "TASKYARD_ACCESS_MINUTES": "1440",
            "PYTHONPATH": str(servers.ROOT),
            **environment,
        }
        if server is not None:
            given["DATABASE_URL"] = stack.enter_context(servers.database(server))
        yield stack.enter_context(SystemUnderTest(directory, given, webs=webs, users=users))


def cpu_seconds(pid: int) -> float:
    """The CPU time of a process and of its children, also of those that have ended."""
    root = psutil.Process(pid)
    spent = sum(root.cpu_times()[:4])
    for child in root.children(recursive=True):
        try:
            spent += sum(child.cpu_times()[:4])
        except psutil.NoSuchProcess:
            continue
    return spent
