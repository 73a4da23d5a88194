"""A host project in its own processes: its migrations, its server, a worker, and a broker."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

import httpx

from taskyard.server import child_process
from taskyard.server.valkey import Valkey
from tests.live_system import START_SECONDS, clean_environment
from tests.servers import ROOT, free_port

PASSWORD = "a password of many words"
MAKE_PEOPLE = """
import json, sys
import django
django.setup()
from django.contrib.auth import get_user_model
from rest_framework.authtoken.models import Token
people = get_user_model().objects
password, *emails = sys.argv[1:]
print(json.dumps([
    Token.objects.create(user=people.create_user(email, password or None)).key for email in emails
]))
"""
ASGI = ("uvicorn", "tests.host_project.asgi:application", "--port")
# What a project has that adds nothing to its asgi.py.
PLAIN_ASGI = ("uvicorn", "--factory", "django.core.asgi:get_asgi_application", "--port")
# Django's development server is a WSGI server.
WSGI = ("django", "runserver", "--noreload")


class Person:
    """A user of the host project, over HTTP alone."""

    opened: ClassVar[list["Person"]] = []

    def __init__(self, url: str, token: str | None = None) -> None:
        headers = {"Authorization": f"Token {token}"} if token else {}
        self.http = httpx.Client(base_url=url, headers=headers, timeout=30)
        self.opened.append(self)

    def create(self, task_type: str, input_data: Any, **headers: str) -> httpx.Response:
        body = {"task_type": task_type, "input_data": input_data}
        return self.http.post("/tasks/create/", json=body, headers=headers)

    def task(self, task_id: int) -> dict[str, Any]:
        task: dict[str, Any] = self.http.get(f"/tasks/{task_id}/").raise_for_status().json()
        return task


class Host:
    """`with Host(directory, settings, {...}) as host`: a migrated project and its broker.

    Commands run in ``directory``.
    """

    def __init__(
        self,
        directory: Path,
        settings: str,
        environment: dict[str, str],
        *,
        migrate: bool = True,
    ) -> None:
        self.directory = directory
        self._migrate = migrate
        self._broker = Valkey(directory / "broker")
        self.processes: list[subprocess.Popen[bytes]] = []
        self.log = directory / "log"
        self.env = {
            **clean_environment(),
            "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)]),
            "DJANGO_SETTINGS_MODULE": settings,
            "TASKYARD_HOME": str(directory),
            "REDIS_URL": self._broker.url,
            **environment,
        }

    def __enter__(self) -> Self:
        process = self._broker.start(self.env)
        self.processes.append(process)
        try:
            self._broker.wait(process)
            if self._migrate:
                self.run("-m", "django", "migrate", "--verbosity", "0")
        except BaseException:
            child_process.stop(self.processes, seconds=20)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        while Person.opened:
            Person.opened.pop().http.close()
        child_process.stop(self.processes[::-1], seconds=20)
        if error is not None:
            sys.stderr.write(self.log_tail())

    def log_tail(self) -> str:
        return self.log.read_text()[-8000:] if self.log.exists() else ""

    def run(self, *arguments: str) -> str:
        """Run Python to its end; what it printed."""
        ran = subprocess.run(
            [sys.executable, *arguments],
            env=self.env,
            cwd=self.directory,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start `python -m` with these arguments."""
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", *arguments],
                env=self.env,
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=child_process.die_with_parent(os.getpid(), signal.SIGKILL),
            )
        self.processes.append(process)
        return process

    def start_web(self, *server: str) -> str:
        """Start a server that takes a port as its last argument; its address."""
        port = free_port()
        self.start(*server, str(port))
        url = f"http://127.0.0.1:{port}"
        self._wait(lambda: httpx.get(url).status_code < 500)
        return url

    def start_worker(self, *command: str) -> subprocess.Popen[bytes]:
        worker = self.start(*(command or ("django", "taskyard_worker", "--concurrency", "1")))
        self._wait(lambda: b"ready." in self.log.read_bytes())
        return worker

    def make_people(self, *emails: str) -> list[str]:
        """Users of the project; their tokens."""
        tokens: list[str] = json.loads(self.run("-c", MAKE_PEOPLE, PASSWORD, *emails))
        return tokens

    def _wait(self, ready: Any) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            try:
                if ready():
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.05)
        raise AssertionError(f"not ready:\n{self.log_tail()}")
