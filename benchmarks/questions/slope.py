"""Compare one process with two, and measure a task's CPU, WAL and bytes on the disk.

One web, one worker, PostgreSQL and the load use two cores fully, so a second process cannot add
much. Therefore each process is limited to a part of a core (`benchmarks/limits.py`).
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import psutil

from benchmarks import limits
from benchmarks.figures import Figure, interleaved, per_second, ratio, until, value
from benchmarks.services import services
from benchmarks.system import COUNT_ACTIVE, books, fill
from benchmarks.system_under_test import (
    PATIENCE_SECONDS,
    SystemUnderTest,
    cpu_seconds,
    system_under_test,
)

CONNECTIONS = 32
DRAINED, SHORT_DRAINED = 50_000, 500
# With a sixth of a core for each process, the rest of the machine can serve two of them.
SHARE = 0.15
LIMITED, SHORT_LIMITED = 100_000, 2_000
# These have no target.
ROUNDS = 3
# The line that Celery logs when it begins to consume.
READY = ' ready."'
PAUSE = (
    "INSERT INTO taskyard_pausedqueue (name, paused_at) VALUES ('default', now()) RETURNING name"
)
RESUME = "DELETE FROM taskyard_pausedqueue RETURNING name"


def ask(rounds: int, short: bool) -> list[Figure]:
    seconds, rounds = 1 if short else 3, min(rounds, ROUNDS)
    count = SHORT_DRAINED if short else DRAINED
    with services() as servers, system_under_test(servers.postgresql) as own:
        own.drain(1)  # no row of an earlier question is left
        measures: dict[str, Callable[[int], float]] = {}
        limitable = limits.possible()
        if limitable:
            measures[f"two workers against one, each {SHARE:.0%} of a core: drain"] = partial(
                _drain_limited, own, SHORT_LIMITED if short else LIMITED
            )
            measures[f"two webs against one, each {SHARE:.0%} of a core: create"] = partial(
                _create_limited, own, seconds
            )
        if not (short and limitable):
            drain, create = partial(_drain, own, count), partial(_create, own, seconds)
            measures["two worker processes against one: drain"] = drain
            measures["two webs against one: create"] = create
        # Drains first, so that no worker has to run the tasks that creates leave.
        figures = [
            _against(what, rounds, measures[what])
            for what in sorted(measures, key=lambda what: what.endswith("create"))
        ]
    costs = [_costs(seconds, count) for _ in range(rounds)]
    return [*figures, *_cost_figures(costs)]


def _against(what: str, rounds: int, measure: Callable[[int], float]) -> Figure:
    found = interleaved({"one": partial(measure, 1), "two": partial(measure, 2)}, rounds)
    return ratio(what, None, ("two", found["two"]), ("one", found["one"]))


def _drain(own: SystemUnderTest, count: int, processes: int) -> float:
    return own.drain(count, processes=processes)


def _create(own: SystemUnderTest, seconds: int, webs: int) -> float:
    own.stop_webs()
    own.start_webs(webs)
    own.target.create(CONNECTIONS, 1)
    return own.target.create(CONNECTIONS, seconds).per_second


def _create_limited(own: SystemUnderTest, seconds: int, webs: int) -> float:
    own.stop_webs()
    own.start_webs(webs)
    with limits.limited([[web.pid] for web in own.webs], SHARE):
        own.target.create(CONNECTIONS, 1)
        return own.target.create(CONNECTIONS, seconds).per_second


def _drain_limited(own: SystemUnderTest, count: int, workers: int) -> float:
    """Start and limit the workers while the queue is paused; measure from the first task on."""
    with books(own) as ask:
        ready = own.log.read_text().count(READY)
        started = [own.start_worker(TASKYARD_CONCURRENCY="1") for _ in range(workers)]
        until(
            lambda: own.log.read_text().count(READY) == ready + workers,
            PATIENCE_SECONDS,
            "workers ready",
        )
        ask(PAUSE)
        fill(own, count, len(own.tokens))
        own.settle()
        with limits.limited([_family(worker.pid) for worker in started], SHARE):
            ask(RESUME)
            until(lambda: ask(COUNT_ACTIVE)[0][0] < count, PATIENCE_SECONDS, "a first task done")
            began, left = time.monotonic(), int(ask(COUNT_ACTIVE)[0][0])
            until(lambda: not ask(COUNT_ACTIVE)[0][0], PATIENCE_SECONDS, "the backlog worked off")
            took = time.monotonic() - began
        for worker in started:
            own.stop_worker(worker)
    return (left or count) / took


def _family(pid: int) -> list[int]:
    return [pid, *(child.pid for child in psutil.Process(pid).children())]


@dataclass(frozen=True)
class Cost:
    """The cost of one task: milliseconds of CPU, bytes."""

    web: float
    web_server: float
    worker: float
    worker_server: float
    broker: float
    wal_create: float
    wal_drain: float
    size: float


def _cost_figures(costs: list[Cost]) -> list[Figure]:
    def ms(number: float) -> str:
        return f"{number:.3f} ms"

    def size(number: float) -> str:
        return f"{number:,.0f} bytes"

    named = (
        ("CPU of the web, a create", "web", ms),
        ("CPU of PostgreSQL, a create", "web_server", ms),
        ("CPU of the worker, a task drained", "worker", ms),
        ("CPU of PostgreSQL, a task drained", "worker_server", ms),
        ("CPU of Redis, a task created and drained", "broker", ms),
        ("WAL, a create", "wal_create", size),
        ("WAL, a task drained", "wal_drain", size),
        ("table and indexes, a completed task, not vacuumed", "size", size),
    )
    carried: tuple[tuple[str, Callable[[Cost], float]], ...] = (
        ("one core of web carries, creates", lambda cost: cost.web),
        ("one core of worker carries, quick tasks", lambda cost: cost.worker),
        (
            "one core of PostgreSQL carries, tasks created and drained",
            lambda cost: cost.web_server + cost.worker_server,
        ),
        ("one Redis carries, tasks created and drained", lambda cost: cost.broker),
    )
    return [
        *(value(what, [getattr(cost, name) for cost in costs], form) for what, name, form in named),
        *(
            value(what, [1000 / max(of(cost), 1e-6) for cost in costs], per_second)
            for what, of in carried
        ),
    ]


def _costs(seconds: int, count: int) -> Cost:
    """Measure on a new table, because new rows fill the space of deleted rows at no cost."""
    with services() as servers, system_under_test(servers.postgresql) as own, books(own) as ask:
        server = psutil.Process(int(ask("SELECT pg_backend_pid()")[0][0])).ppid()
        own.target.create(CONNECTIONS, 1)

        at_first = _spent(own, server)
        own.target.create(CONNECTIONS, seconds)
        creates = _spent(own, server).since(at_first)

        fill(own, count, len(own.tokens))
        own.settle()
        backlog = int(ask(COUNT_ACTIVE)[0][0])
        at_first = _spent(own, server)
        worker = own.start_worker()
        # The cost of a start does not depend on the number of tasks, so it is left out.
        until(lambda: ask(COUNT_ACTIVE)[0][0] < backlog, PATIENCE_SECONDS, "a first task done")
        begun, remaining = cpu_seconds(worker.pid), int(ask(COUNT_ACTIVE)[0][0]) or backlog
        until(lambda: ask(COUNT_ACTIVE)[0][0] == 0, PATIENCE_SECONDS, "the backlog worked off")
        workers = cpu_seconds(worker.pid) - begun
        drains = _spent(own, server).since(at_first)
        own.stop_worker(worker)
    return Cost(
        web=creates.webs / creates.tasks * 1000,
        web_server=creates.server / creates.tasks * 1000,
        worker=workers / remaining * 1000,
        worker_server=drains.server / backlog * 1000,
        broker=(creates.broker / creates.tasks + drains.broker / backlog) * 1000,
        wal_create=creates.wal / creates.tasks,
        wal_drain=drains.wal / backlog,
        size=drains.size_at_last / drains.tasks_at_last,
    )


@dataclass(frozen=True)
class Spent:
    """Totals at a moment: seconds of CPU, tasks, bytes of WAL and of the table with indexes."""

    webs: float
    server: float
    broker: float
    tasks: int
    wal: int
    size_at_last: int
    tasks_at_last: int

    def since(self, before: "Spent") -> "Spent":
        return Spent(
            webs=self.webs - before.webs,
            server=self.server - before.server,
            broker=self.broker - before.broker,
            tasks=self.tasks - before.tasks,
            wal=self.wal - before.wal,
            size_at_last=self.size_at_last,
            tasks_at_last=self.tasks_at_last,
        )


def _spent(own: SystemUnderTest, server: int) -> Spent:
    with books(own) as ask:
        tasks, wal, size = ask(
            "SELECT (SELECT count(*) FROM taskyard_task), pg_current_wal_lsn() - '0/0',"
            " pg_total_relation_size('taskyard_task')"
        )[0]
    return Spent(
        webs=sum(cpu_seconds(web.pid) for web in own.webs),
        server=cpu_seconds(server),
        broker=cpu_seconds(own.broker_pid),
        tasks=int(tasks),
        wal=int(wal),
        size_at_last=int(size),
        tasks_at_last=int(tasks),
    )
