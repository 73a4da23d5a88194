"""A whole Taskyard in its own processes, for tests that use it from outside."""

import http.client
import os
import signal
import subprocess
import sys
import time
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import redis
from celery import Celery

from taskyard.server import child_process
from taskyard.server.env import NAMES
from taskyard.server.valkey import Valkey
from tests.servers import free_port

START_SECONDS = 40.0


def clean_environment() -> dict[str, str]:
    """This process's environment without any setting of Taskyard."""
    ours = {*NAMES, *(f"{name}_FILE" for name in NAMES)}
    kept = {name: value for name, value in os.environ.items() if name not in ours}
    kept.pop("DJANGO_SETTINGS_MODULE", None)
    return kept


def run_python(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python to its end, with any exit code."""
    return subprocess.run(
        [sys.executable, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def run_taskyard(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a `taskyard` command to its end, with any exit code."""
    return run_python(environment, "-m", "taskyard.server.cli", *arguments)


def taskyard(environment: dict[str, str], *arguments: str) -> str:
    """Run a `taskyard` command to its end; what it printed."""
    result = run_taskyard(environment, *arguments)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


class Live:
    """`with Live(directory, {...}) as live`: a migrated system whose web and one worker are ready.

    Pass ``migrated`` if the database is migrated already.
    """

    database_file = "taskyard.sqlite3"

    def __init__(
        self, directory: Path, environment: dict[str, str], *, migrated: bool = False
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.home = directory / "home"
        self.log = directory / "log"
        self._migrated = migrated
        self._broker = Valkey(directory / "broker")
        self._broker_process: subprocess.Popen[bytes] | None = None
        self._web: subprocess.Popen[bytes] | None = None
        self.workers: list[subprocess.Popen[bytes]] = []
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.redis_url = self._broker.url
        self.env = {
            **clean_environment(),
            "TASKYARD_HOME": str(self.home),
            "REDIS_URL": self._broker.url,
            "PORT": str(self.port),
            "TASKYARD_CONCURRENCY": "2",
            **environment,
        }

    def __enter__(self) -> Self:
        try:
            self.start_broker()
            if not self._migrated:
                self.command("migrate", "--verbosity", "0")
            self.start_web()
            self.start_worker()
            self.wait_until_ready()
        except BaseException:
            self.close()
            sys.stderr.write(self.log_tail())
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        child_process.stop([p for p in (*self.workers, self._web) if p is not None], seconds=10)
        self.stop_broker()

    def start_broker(self) -> None:
        self._broker_process = self._broker.start(self.env)
        self._broker.wait(self._broker_process)

    def stop_broker(self) -> None:
        if self._broker_process is not None:
            child_process.stop([self._broker_process], seconds=5)
        self._broker_process = None

    def kill_broker(self) -> None:
        """SIGKILL."""
        if self._broker_process is not None:
            self._broker_process.kill()
            self._broker_process.wait()
        self._broker_process = None

    def start_web(self) -> None:
        self._web = self._start("web")

    def stop_web(self) -> None:
        if self._web is not None:
            child_process.stop([self._web], seconds=10)
        self._web = None

    def kill_web(self) -> None:
        """SIGKILL."""
        if self._web is not None:
            os.killpg(self._web.pid, signal.SIGKILL)
            self._web.wait()
        self._web = None

    @property
    def web_pid(self) -> int:
        assert self._web is not None
        return self._web.pid

    def start_worker(self, **environment: str) -> subprocess.Popen[bytes]:
        process = self._start("worker", **environment)
        self.workers.append(process)
        return process

    def stop_worker(self, process: subprocess.Popen[bytes] | None = None) -> None:
        """SIGTERM, as in a deploy; the oldest worker unless one is named."""
        process = process or self.workers[0]
        self.workers.remove(process)
        child_process.stop([process], seconds=30)

    def kill_worker(self, process: subprocess.Popen[bytes] | None = None) -> None:
        """SIGKILL, the parent and its children at once."""
        process = process or self.workers[0]
        self.workers.remove(process)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def replace_those_that_left(self) -> int:
        """Start a worker for each that exited to be started again, as `up` and compose do."""
        left = [each for each in self.workers if each.poll() == os.EX_TEMPFAIL]
        for process in left:
            self.workers.remove(process)
            self.start_worker()
        return len(left)

    def command(self, *arguments: str) -> str:
        """Run a `taskyard` command to its end; what it printed."""
        result = run_python(self.env, *self.program(*arguments))
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    def program(self, *arguments: str) -> list[str]:
        """The arguments with which Python runs a `taskyard` command."""
        return ["-m", "taskyard.server.cli", *arguments]

    @property
    def database(self) -> Path | str:
        """The database: a file, or the address of a PostgreSQL."""
        return self.env.get("DATABASE_URL") or self.home / self.database_file

    @cached_property
    def prefix(self) -> str:
        """The prefix of every name of this system in Redis."""
        said = "from taskyard.core.redis import key; print(key(''))"
        return self.command("manage", "shell", "--no-imports", "-c", said).strip()

    def celery(self) -> Celery:
        """A Celery app with the configuration of this system."""
        options = {"global_keyprefix": f"{self.prefix}celery:"}
        return Celery(broker=self.env["REDIS_URL"], broker_transport_options=options)

    def messages(self, queue: str = "default") -> int:
        """The number of wake-up messages in a queue of the broker."""
        with redis.Redis.from_url(self.redis_url) as client:
            return int(client.llen(f"{self.prefix}celery:{queue}"))  # type: ignore[arg-type]

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self._web is not None and self._web.poll() is not None:
                break
            if self._answers_ready():
                return
            time.sleep(0.05)
        raise AssertionError("the live system did not become ready")

    def _answers_ready(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _start(self, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
        log: IO[bytes]
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, *self.program(*arguments)],
                env={**self.env, **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=child_process.die_with_parent(os.getpid(), signal.SIGKILL),
            )

    def log_tail(self) -> str:
        return self.log.read_text()[-8000:] if self.log.exists() else ""
