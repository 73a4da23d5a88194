"""Taskyard behind PgBouncer in both modes, as in the how-to page."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from taskyard.server import child_process
from tests import servers
from tests.conftest import TEST_DB, USUAL, migrated_database
from tests.contract.client import User
from tests.live_system import Live

pytestmark = pytest.mark.servers

HOW_TO = servers.ROOT / "docs" / "how-to" / "postgresql-and-redis.md"
TASKS = 20


def entries(database: str) -> list[str]:
    """PgBouncer's databases: those of the how-to, and one without a connect_query."""
    parts = urlsplit(database)
    login = f"user={parts.username}" + (f" password={parts.password}" if parts.password else "")
    where = f"host={parts.hostname} port={parts.port} dbname={parts.path[1:]} {login}"
    found = re.findall(
        r"^(taskyard_\w+) = .*?(connect_query=.*)$", HOW_TO.read_text(), re.MULTILINE
    )
    assert len(found) == 2
    return [f"plain = {where}", *(f"{alias} = {where} {query}" for alias, query in found)]


@contextmanager
def pgbouncer(directory: Path, mode: str, database: str) -> Iterator[str]:
    """The address of a PgBouncer in front of this database, without the database's name."""
    port = servers.free_port()
    directory.mkdir()
    settings = directory / "pgbouncer.ini"
    lines = [
        *("[databases]", *entries(database)),
        *("[pgbouncer]", f"pool_mode = {mode}", f"listen_port = {port}", "listen_addr = 127.0.0.1"),
        *(
            "auth_type = any",
            "unix_socket_dir =",
            "max_client_conn = 200",
            "default_pool_size = 40",
        ),
    ]
    settings.write_text("\n".join(lines))
    other: dict[str, int] = {}
    if os.getuid() == 0:
        directory.chmod(0o755)
        other = {"user": servers.NOBODY, "group": servers.NOBODY}
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(  # type: ignore[call-overload]
            ["pgbouncer", settings],
            stdout=log,
            stderr=log,
            preexec_fn=child_process.die_with_parent(os.getpid(), signal.SIGTERM),
            **other,
        )
    try:
        address = f"postgresql://taskyard@127.0.0.1:{port}"
        _wait_for(f"{address}/plain", directory / "log")
        yield address
    finally:
        child_process.stop([process], seconds=5)


def _wait_for(address: str, log: Path) -> None:
    until = time.monotonic() + 10
    while True:
        try:
            psycopg.connect(address).close()
        except psycopg.OperationalError:
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.05)
        else:
            return


if TEST_DB == "postgresql" and shutil.which("pgbouncer"):

    @pytest.fixture
    def database() -> Iterator[str]:
        server = os.environ["TEST_DATABASE_URL"]
        with servers.database(server, migrated_database()) as address:
            yield address

    @pytest.mark.parametrize(
        ("mode", "web", "worker"),
        [
            ("session", "plain", "plain"),
            ("transaction", "taskyard_web", "taskyard_worker"),
            ("transaction", "plain", "plain"),
        ],
    )
    def test_web_and_worker_do_their_work(
        tmp_path: Path, database: str, mode: str, web: str, worker: str
    ) -> None:
        said = "?pool_mode=transaction" if mode == "transaction" else ""
        with ExitStack() as stack:
            address = stack.enter_context(pgbouncer(_outside(stack), mode, database))
            environment = {
                "TASKYARD_ACTIVE_LIMIT": "1000",
                "DATABASE_URL": f"{address}/{web}{said}",
            }
            given = {**USUAL, **environment}
            live = Live(tmp_path / "live", given, migrated=True)
            live.start_broker()
            stack.callback(live.close)
            live.start_web()
            live.start_worker(DATABASE_URL=f"{address}/{worker}{said}")
            live.wait_until_ready()
            user = User.register(live)
            for number in range(TASKS):
                task = {"task_type": "sum", "input_data": {"numbers": [number, 1]}}
                answer = user.http.post("/tasks/create/", json=task)
                assert answer.status_code == 201, answer.text
            until = time.monotonic() + 60
            while user.http.get("/tasks/?status=completed").json()["count"] < TASKS:
                assert time.monotonic() < until
                time.sleep(0.1)
            warned = "connect_query" in live.log.read_text()
            assert warned == (mode == "transaction" and web == "plain")

    def test_a_start_that_does_not_say_so_is_refused_in_one_line(
        tmp_path: Path, database: str
    ) -> None:
        with ExitStack() as stack:
            address = stack.enter_context(pgbouncer(_outside(stack), "transaction", database))
            live = Live(tmp_path / "live", {**USUAL, "DATABASE_URL": f"{address}/plain"})
            for command in ("web", "worker"):
                found = subprocess.run(
                    [sys.executable, "-m", "taskyard.server.cli", command],
                    env={**live.env, "REDIS_URL": os.environ["TEST_REDIS_URL"]},
                    capture_output=True,
                    text=True,
                    timeout=60,
                    check=False,
                )
                assert found.returncode == 2, found.stderr
                assert found.stderr.count("\n") == 1
                assert "?pool_mode=transaction" in found.stderr

    def _outside(stack: ExitStack) -> Path:
        """A folder that PgBouncer may read as another user."""
        name = stack.enter_context(tempfile.TemporaryDirectory(prefix="taskyard-pgbouncer-"))
        Path(name).chmod(0o755)
        return Path(name) / "pgbouncer"
