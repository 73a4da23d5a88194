"""`taskyard up`: a supervisor that migrates and runs the broker, the web and a worker."""

import errno
import fcntl
import http.client
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from taskyard.core import presence
from taskyard.server import child_process, env, home, valkey
from taskyard.server.env import ConfigurationError

TICK_SECONDS = 0.1
STOP_SECONDS = 29.0  # for web and worker together; the broker stops after them
BROKER_STOP_SECONDS = 4.0
LEAST_BACKOFF_SECONDS = 0.5
MOST_BACKOFF_SECONDS = 30.0
STABLE_SECONDS = 60.0  # if a child ran for longer, its back-off begins anew
LOCK_SECONDS = 10.0
logger = logging.getLogger(__name__)
REFUSED = 2  # the exit code of a command that raised ConfigurationError


@dataclass
class Child:
    """A process that is started again, with a growing back-off, each time it ends."""

    name: str
    start: Callable[[], subprocess.Popen[bytes]]
    process: subprocess.Popen[bytes] = field(init=False)
    started_at: float = 0.0
    backoff: float = LEAST_BACKOFF_SECONDS
    restart_at: float | None = None

    def launch(self) -> None:
        self.started_at, self.restart_at = time.monotonic(), None
        self.process = self.start()

    def check(self) -> None:
        """If the process has ended, kill the rest of its group; restart it after the back-off."""
        now = time.monotonic()
        if self.restart_at is not None:
            if now >= self.restart_at:
                self.launch()
            return
        code = self.process.poll()
        if code is None:
            return
        child_process.kill_group(self.process)
        if now - self.started_at > STABLE_SECONDS:
            self.backoff = LEAST_BACKOFF_SECONDS
        logger.warning(
            "starting it again",
            extra={"child": self.name, "exit_code": code, "in_seconds": self.backoff},
        )
        self.restart_at = now + self.backoff
        self.backoff = min(self.backoff * 2, MOST_BACKOFF_SECONDS)


def print_status(line: str) -> None:
    print(f"taskyard: {line}", file=sys.stderr, flush=True)


def up() -> int:
    """Run until a signal; the exit code. Raises ConfigurationError."""
    values = env.read(os.environ)
    env.refuse_unsafe(values)
    stopping: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda received, frame: stopping.append(received))

    directory: Path = values["TASKYARD_HOME"]
    home.prepare(directory)
    lock = _lock(directory)
    if lock is None:
        print_status(f"already running on {directory}")
        return 1
    listener = _listen(values["HOST"], values["PORT"])
    if listener is None:
        print_status(f"port {values['PORT']} on {values['HOST']} is taken; set PORT")
        return 1

    children: list[Child] = []
    broker = None
    try:
        if redis_url := values["REDIS_URL"] or values["CELERY_BROKER_URL"]:
            (directory / "broker-url").unlink(missing_ok=True)
            valkey.refuse_unusable(redis_url)
        else:
            broker = _start_broker(directory, lock)
        if not stopping:
            _load_django_and_migrate()
            children = [_web(listener), _worker()]
            for child in children:
                child.launch()
        announced = False
        while not stopping:
            for child in [*children, *([broker] if broker else [])]:
                child.check()
            if not announced:
                if refused := [c for c in children if c.process.poll() == REFUSED]:
                    print_status(f"{refused[0].name} refused to start")
                    return REFUSED
                if announced := _is_ready(listener, children[1].process.pid):
                    # The client reads the URL from this file.
                    home.write_private(directory / "web-url", _url(listener).rstrip("/"))
                    print(f"Taskyard is ready at {_url(listener)}", flush=True)
            time.sleep(TICK_SECONDS)
    finally:
        (directory / "web-url").unlink(missing_ok=True)
        listener.close()
        child_process.stop([c.process for c in children], seconds=STOP_SECONDS)
        if broker:
            child_process.stop([broker.process], seconds=BROKER_STOP_SECONDS)
            (directory / "broker-url").unlink(missing_ok=True)
    return 0


def _lock(directory: Path) -> int | None:
    """The descriptor of the locked lock file, or None if another supervisor holds the lock.

    The embedded broker inherits the lock. So after a supervisor's SIGKILL the next one waits until
    the old broker has closed its files.
    """
    descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 20, 0).decode()
            if _is_alive(holder) or time.monotonic() > deadline:
                os.close(descriptor)
                return None
            time.sleep(TICK_SECONDS)
        else:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, str(os.getpid()).encode(), 0)
            return descriptor


def _is_alive(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return True


def _listen(host: str, port: int) -> socket.socket | None:
    """The web's listening socket, or None if the port is taken.

    The supervisor keeps it open, so that requests wait while the web is restarted.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(8192)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return None
        raise ConfigurationError(f"cannot listen on {host}:{port}: {error.strerror}") from None
    return listener


def _start_broker(directory: Path, lock: int) -> Child:
    server = valkey.Valkey(directory / "broker")
    broker = Child("broker", lambda: server.start(dict(os.environ), pass_fds=(lock,)))
    broker.launch()
    try:
        server.wait(broker.process)
    except ConfigurationError:
        child_process.stop([broker.process], seconds=1)
        raise
    # The settings read this file, so that `taskyard worker` uses this broker too.
    home.write_private(directory / "broker-url", server.url)
    return broker


def _load_django_and_migrate() -> None:
    from django.core.management import call_command
    from django.db import DatabaseError, connection
    from django.db.migrations.executor import MigrationExecutor

    from taskyard.server.django_setup import load_django

    load_django()
    from taskyard.core import changes

    try:
        executor = MigrationExecutor(connection)
        if executor.migration_plan(executor.loader.graph.leaf_nodes()):
            call_command("migrate", verbosity=0, interactive=False)
        changes.forget_another_cluster()
    except DatabaseError as error:
        first = str(error).strip().splitlines()[0]
        raise ConfigurationError(f"the database cannot be used: {first}") from None
    finally:
        connection.close()


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "taskyard.server.cli", *arguments]


def _web(listener: socket.socket) -> Child:
    def start() -> subprocess.Popen[bytes]:
        return child_process.start(
            _command("web", "--fd", str(listener.fileno())),
            env=os.environ,
            death_signal=signal.SIGKILL,
            pass_fds=(listener.fileno(),),
        )

    return Child("web", start)


def _worker() -> Child:
    def start() -> subprocess.Popen[bytes]:
        return child_process.start(_command("worker"), env=os.environ, death_signal=signal.SIGKILL)

    return Child("worker", start)


def _is_ready(listener: socket.socket, worker_pid: int) -> bool:
    """Whether /readyz answers 200 and the worker holds its lease."""
    host, port = _reachable(listener)
    web = http.client.HTTPConnection(host, port, timeout=3)
    try:
        web.request("GET", "/readyz")
        if web.getresponse().status != 200:
            return False
    except (OSError, http.client.HTTPException):
        return False
    finally:
        web.close()
    return any(worker.pid == worker_pid and worker.holds_a_lease for worker in presence.seen())


def _reachable(listener: socket.socket) -> tuple[str, int]:
    """A host and port at which this machine reaches the socket."""
    address: tuple[Any, ...] = listener.getsockname()
    wildcards = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104
    return wildcards.get(address[0], address[0]), address[1]


def _url(listener: socket.socket) -> str:
    host, port = _reachable(listener)
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"
