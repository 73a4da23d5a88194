"""The variants of the ordinary build: how each is served and worked, and a running one."""

import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import psutil

from benchmarks.peers.backlog import Command, Program, python, run, working
from benchmarks.peers.stage import Stage, fresh, rows
from taskyard.server import child_process
from tests import servers

ENOUGH = 1_000_000_000
START_SECONDS = 30.0


@dataclass(frozen=True)
class Form:
    """A variant. `program` is the worker of its tasks; the bare view has no worker."""

    name: str
    setting: str
    web: Command
    create_path: str
    program: Program
    sockets: int = 1


@dataclass(frozen=True)
class Served:
    """A running variant: the address of creates, and an access token for each user."""

    url: str
    port: int
    create_path: str
    tokens: tuple[str, ...]
    stage: Stage

    def unfinished(self) -> int:
        return unfinished(self.stage)

    def completed(self) -> int:
        return rows(self.stage, "SELECT count(*) FROM ordinary_task WHERE status = 'completed'")


def unfinished(stage: Stage) -> int:
    return rows(stage, "SELECT count(*) FROM ordinary_task WHERE status <> 'completed'")


def _program(name: str) -> Program:
    prepare = "benchmarks.peers.ordinary.prepare"
    return Program(
        fill=python(prepare, "fill"),
        kept=python(prepare, "kept"),
        work=python(
            "celery",
            *("-A", "benchmarks.peers.ordinary.tasks", "worker", "-c", "2", "-l", "warning"),
            # There is no other worker, and to look for one costs a second at the start.
            *("--without-gossip", "--without-mingle"),
        ),
        left=unfinished,
        copies=1,
        gated=False,
        environment=(
            ("BENCH_FORM", name),
            ("BENCH_ACTIVE_LIMIT", str(ENOUGH)),
            ("DJANGO_SETTINGS_MODULE", "benchmarks.peers.ordinary.settings"),
        ),
    )


def _gunicorn() -> Command:
    return python(
        "gunicorn",
        *("benchmarks.peers.ordinary.wsgi", "--workers", "2", "--log-level", "warning"),
        *("--bind", "127.0.0.1:{port}"),
    )


def _uvicorns() -> Command:
    return python("benchmarks.peers.ordinary.uvicorns", "{port}")


FORMS: dict[str, Form] = {
    form.name: form
    for form in (
        Form(
            "ordinary",
            "gunicorn, 2 sync workers; prefork, 2 processes; a connection a request and a task",
            _gunicorn(),
            "/api/tasks/create/",
            _program("ordinary"),
        ),
        Form(
            "ordinary-kept",
            "gunicorn, 2 sync workers; prefork, 2 processes; kept connections",
            _gunicorn(),
            "/api/tasks/create/",
            _program("ordinary-kept"),
        ),
        Form(
            "celery-per-task",
            "as ordinary-kept, no middleware, JSON only, prepared statements; one UPDATE a task",
            _gunicorn(),
            "/api/tasks/create/",
            _program("celery-per-task"),
        ),
        Form(
            "bare",
            "one DRF view, one INSERT on kept connections; 2 uvicorns of 4 threads, as Taskyard",
            _uvicorns(),
            "/api/bare/create/",
            _program("bare"),
            sockets=2,
        ),
    )
}
DRAINED = tuple(name for name in FORMS if name != "bare")


@contextmanager
def served(stage: Stage, name: str, *, users: int = 100, worked: bool = True) -> Iterator[Served]:
    """Run the variant with its web, and with its worker unless only creates are measured."""
    form = FORMS[name]
    with fresh(stage) as own:
        prepare = python("benchmarks.peers.ordinary.prepare", "tokens")
        tokens = run(form.program, own, prepare, users).split()
        port = servers.free_port()
        at_work = working(form.program, own) if worked and name in DRAINED else nullcontext()
        with _web(form, own, port), at_work:
            yield Served(f"http://127.0.0.1:{port}", port, form.create_path, tuple(tokens), own)


@contextmanager
def _web(form: Form, stage: Stage, port: int) -> Iterator[None]:
    log = stage.directory / "web.log"
    with log.open("ab") as out:
        process = subprocess.Popen(
            [part.format(port=port) for part in form.web],
            env={**stage.environment(), **dict(form.program.environment)},
            cwd=servers.ROOT,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
            preexec_fn=child_process.die_with_parent(os.getpid(), signal.SIGKILL),
        )
    try:
        _wait_for(process, port, form.sockets)
        yield
    except BaseException:
        sys.stderr.write(log.read_text(errors="replace")[-4000:])
        raise
    finally:
        child_process.stop([process], seconds=10)


def _wait_for(process: subprocess.Popen[bytes], port: int, sockets: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/api/tasks/")
            answered = connection.getresponse().status in (401, 403)
            if answered and _listening(port) == sockets:
                return
        except (OSError, http.client.HTTPException):
            time.sleep(0.05)
        finally:
            connection.close()
    raise RuntimeError("the web did not start")


def _listening(port: int) -> int:
    """The number of sockets of this machine that listen on the port."""
    return sum(
        each.status == psutil.CONN_LISTEN and each.laddr.port == port
        for each in psutil.net_connections("tcp4")
    )
