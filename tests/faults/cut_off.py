"""Cut one of several processes off from the database or the broker; the others go on."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import httpx
import psycopg

from taskyard.server import child_process
from tests import servers
from tests.contract.client import User
from tests.faults.proxy import Mode, Proxy
from tests.faults.stage import Stage
from tests.faults.transition_log import wait_for
from tests.live_system import Live

LATENCY_SECONDS = 1.0
A_SECOND = 20
PARTS = ("web", "far web", "worker", "far worker")


@dataclass
class Yard:
    """Two webs and two workers, each with its own proxies to the database and the broker."""

    live: Live
    database: dict[str, Proxy]
    broker: dict[str, Proxy]

    def environment(self, part: str) -> dict[str, str]:
        return {"DATABASE_URL": self.database[part].url, "REDIS_URL": self.broker[part].url}


# The name of the case, the connections that are cut, and the processes.
CASES: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("a worker from the database", "database", ("far worker",)),
    ("a worker from the broker", "broker", ("far worker",)),
    ("a web from the database", "database", ("far web",)),
    ("a web from the broker", "broker", ("far web",)),
    ("all webs from the broker", "broker", ("web", "far web")),
)


def cut_off(stage: Stage, long: bool) -> str:
    """Run each case: submit tasks to the other processes and measure their latency."""
    seconds = 30.0 if long else 5.0
    figures = []
    with _yard(stage) as yard:
        user = User.register(yard.live)
        with psycopg.connect(yard.live.env["DATABASE_URL"], autocommit=True) as truth:
            _p99(truth, _load(user, 3.0))
            for name, way, parts in CASES:
                links = [getattr(yard, way)[part] for part in parts]
                for link in links:
                    link.become(Mode.BLACK_HOLE)
                ids = _load(user, seconds)
                for link in links:
                    link.become(Mode.PASS)
                slowest = _p99(truth, ids)
                assert slowest <= LATENCY_SECONDS, f"{name}: p99 {slowest:.2f} s"
                figures.append(f"{name}: p99 {slowest * 1000:.0f} ms of {len(ids)}")
    return f"{'; '.join(figures)}; 0 refused"


def _load(user: User, seconds: float) -> list[int]:
    """Submit sums at a constant rate to the web that can reach the database; return their ids."""
    ids = []
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        began = time.monotonic()
        ids.append(user.sum(1, 2))  # every status other than 201 is a failure
        time.sleep(max(0.0, 1 / A_SECOND - (time.monotonic() - began)))
    return ids


def _p99(truth: psycopg.Connection, ids: list[int]) -> float:
    """Seconds from the create to the end, by the database's clock."""
    open_tasks = "SELECT count(*) FROM taskyard_task WHERE id = ANY(%s) AND status <> 'completed'"
    wait_for(
        "all are done", lambda: truth.execute(open_tasks, [ids]).fetchone() == (0,), seconds=60
    )
    taken = truth.execute(
        "SELECT extract(epoch FROM finished_at - created_at) FROM taskyard_task WHERE id = ANY(%s)",
        [ids],
    ).fetchall()
    seconds = sorted(float(each) for (each,) in taken)
    return seconds[int(len(seconds) * 0.99)]


@contextmanager
def _yard(stage: Stage) -> Iterator[Yard]:
    with ExitStack() as stack:
        # Started without proxies for its broker and its migrations; then each part starts again.
        trial = stack.enter_context(stage.trial())
        live = trial.live
        yard = Yard(
            live,
            {p: stack.enter_context(Proxy(live.env["DATABASE_URL"])) for p in PARTS},
            {p: stack.enter_context(Proxy(live.redis_url)) for p in PARTS},
        )
        live.stop_worker()
        live.stop_web()
        stack.enter_context(_web(live, live.port, yard.environment("web")))
        stack.enter_context(_web(live, servers.free_port(), yard.environment("far web")))
        for part in ("worker", "far worker"):
            live.start_worker(TASKYARD_CONCURRENCY="1", **yard.environment(part))
        yield yard


@contextmanager
def _web(live: Live, port: int, environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    process = live._start("web", PORT=str(port), **environment)
    try:
        wait_for("a web is ready", lambda: _is_ready(port), seconds=40)
        yield process
    finally:
        child_process.stop([process], seconds=10)


def _is_ready(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False
