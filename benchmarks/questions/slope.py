"""From one process to two, and what a task costs: CPU, WAL, bytes on the disk."""

from collections.abc import Callable
from dataclasses import dataclass

import psutil

from benchmarks.figures import Figure, interleaved, per_second, ratio, until, value
from benchmarks.ground import ground
from benchmarks.system import books, fill
from benchmarks.yard import PATIENCE_SECONDS, Yard, cpu_seconds, yard

CONNECTIONS = 8
DRAINED, SHORT_DRAINED = 50_000, 500


def ask(rounds: int, short: bool) -> list[Figure]:
    seconds = 1 if short else 4
    count = SHORT_DRAINED if short else DRAINED
    with ground() as servers, yard(servers.postgresql, webs=1) as own:

        def created(webs: int) -> float:
            own.stop_webs()
            own.start_webs(webs)
            if not short:
                own.target.create(CONNECTIONS, 1)
            return own.target.create(CONNECTIONS, seconds).per_second

        drains = interleaved(
            {
                "1": lambda: own.drain(count, processes=1),
                "2": lambda: own.drain(count, processes=2),
            },
            rounds,
        )
        creates = interleaved({"1": lambda: created(1), "2": lambda: created(2)}, rounds)
    costs = [_costs(seconds, count) for _ in range(rounds)]
    return [
        ratio("two webs against one: create", None, ("two", creates["2"]), ("one", creates["1"])),
        ratio(
            "two worker processes against one: drain",
            None,
            ("two", drains["2"]),
            ("one", drains["1"]),
        ),
        *_cost_figures(costs),
    ]


@dataclass(frozen=True)
class Cost:
    """Of one task: milliseconds of CPU, bytes."""

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
    """On a new table: what was freed by earlier rows would be filled at no cost."""
    with ground() as servers, yard(servers.postgresql) as own, books(own) as ask:
        server = psutil.Process(int(ask("SELECT pg_backend_pid()")[0][0])).ppid()
        own.target.create(CONNECTIONS, 1)

        at_first = _spent(own, server)
        own.target.create(CONNECTIONS, seconds)
        creates = _spent(own, server).since(at_first)

        fill(own, count, len(own.tokens))
        own.settle()
        left = "SELECT sum(active) FROM taskyard_account"
        backlog = int(ask(left)[0][0])
        at_first = _spent(own, server)
        worker = own.start_worker()
        # Starting is paid once, whatever there is to do.
        until(lambda: ask(left)[0][0] < backlog, PATIENCE_SECONDS, "a first task done")
        begun, remaining = cpu_seconds(worker.pid), int(ask(left)[0][0]) or backlog
        until(lambda: ask(left)[0][0] == 0, PATIENCE_SECONDS, "the backlog worked off")
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
    """Until a moment: seconds of CPU, tasks made, bytes of WAL and of the table with indexes."""

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


def _spent(own: Yard, server: int) -> Spent:
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
