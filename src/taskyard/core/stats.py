"""The current state: active tasks by queue and type, workers, broker, database.

The cost depends on the number of active tasks, not on the ended ones.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection
from django.db.models import Count, Min, Q, Sum
from django.db.models.functions import Coalesce, Greatest, Now
from django.utils import timezone

from taskyard.core.conf import conf
from taskyard.core.models import Quota, Task, Worker
from taskyard.core.redis import BrokerRefuses, BrokerState, BrokerUnavailable, try_broker
from taskyard.core.states import Status

MOST_WORKERS = 100
WAITING = Q(ready=True)
# When a task became due. A task that slept was due before, so its last claim counts.
DUE_AT = Greatest(
    "created_at", Coalesce("run_at", "created_at"), Coalesce("claimed_at", "created_at")
)
COUNTS = {
    "waiting": Count("id", filter=WAITING),
    "scheduled": Count("id", filter=Q(wake_at__isnull=False, status=Status.PENDING)),
    "suspended": Count("id", filter=Q(wake_at__isnull=False, status=Status.IN_PROGRESS)),
    "running": Count("id", filter=Q(worker__isnull=False)),
    "oldest": Min(DUE_AT, filter=WAITING & Q(status=Status.PENDING)),
}


@dataclass(frozen=True, kw_only=True)
class Depth:
    """How many active tasks there are, by place; ``oldest`` is when the oldest became due."""

    waiting: int = 0
    scheduled: int = 0
    suspended: int = 0
    running: int = 0
    oldest: datetime | None = None

    def __add__(self, other: "Depth") -> "Depth":
        return Depth(
            waiting=self.waiting + other.waiting,
            scheduled=self.scheduled + other.scheduled,
            suspended=self.suspended + other.suspended,
            running=self.running + other.running,
            oldest=min(filter(None, (self.oldest, other.oldest)), default=None),
        )

    @property
    def oldest_seconds(self) -> float | None:
        return None if self.oldest is None else (timezone.now() - self.oldest).total_seconds()


def depths() -> dict[tuple[str, str], Depth]:
    """The depths by queue and task type."""
    rows = Task.objects.active().order_by().values_list("queue", "task_type")
    return {
        (queue, task_type): Depth(**dict(zip(COUNTS, counts, strict=True)))
        for queue, task_type, *counts in rows.annotate(**COUNTS)
    }


def total(depths: Iterable[Depth]) -> Depth:
    return sum(depths, Depth())


@dataclass(frozen=True)
class Ended:
    completed: int
    error: int
    cancelled: int


def ended() -> Ended:
    """How many tasks of users have ended and were not deleted, from the counters of the quotas."""
    return Ended(
        **Quota.objects.aggregate(
            **{name: Coalesce(Sum(name), 0) for name in ("completed", "error", "cancelled")}
        )
    )


@dataclass(frozen=True, kw_only=True)
class WorkerNow:
    """A worker: ``in_use`` of its ``slots`` hold ``held`` tasks; the last heartbeat was
    ``beat_seconds`` ago."""

    host: str
    pid: int
    version: str
    queues: list[str]
    slots: int
    in_use: int
    held: int
    beat_seconds: float
    alive: bool
    started_at: datetime


def workers() -> list[WorkerNow]:
    """The workers with the latest leases; those alive first."""
    held = {
        worker: (processes, tasks)
        for worker, processes, tasks in Task.objects.filter(worker__isnull=False)
        .order_by()
        .values_list("worker")
        .annotate(Count("process", distinct=True), Count("id"))
    }
    lease = timedelta(seconds=conf().LEASE_SECONDS)
    found = []
    leases: Any = Worker.objects.annotate(clock=Now()).order_by("-lease_until")[:MOST_WORKERS]
    for worker in leases:
        clock: datetime = worker.clock
        processes, tasks = held.get(worker.pk, (0, 0))
        found.append(
            WorkerNow(
                # Without the process namespace, which follows and differs between containers.
                host=worker.host.split(" ")[0],
                pid=worker.pid,
                version=worker.version,
                queues=worker.queues,
                slots=worker.concurrency,
                in_use=processes,
                held=tasks,
                beat_seconds=max(0.0, (clock - worker.lease_until + lease).total_seconds()),
                alive=worker.lease_until > clock,
                started_at=worker.started_at,
            )
        )
    return sorted(found, key=lambda worker: (not worker.alive, worker.host, worker.pid))


@dataclass(frozen=True)
class Broker:
    """The state of the broker, how long its answer took, and its message if it refused."""

    state: BrokerState
    milliseconds: float
    refusal: str = ""


@dataclass(frozen=True)
class Database:
    name: str
    milliseconds: float


def broker() -> Broker:
    """Ask the broker for its state; a broker that hangs costs one second, once."""
    before = time.perf_counter()
    state, refusal = BrokerState.OK, ""
    try:
        try_broker()
    except BrokerRefuses as error:
        state, refusal = BrokerState.REFUSES, str(error)
    except BrokerUnavailable:
        state = BrokerState.AWAY
    return Broker(state, _milliseconds_since(before), refusal)


def database() -> Database:
    """Ask the database for its version, and measure the time of an answer."""
    before = time.perf_counter()
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        cursor.fetchone()
    took = _milliseconds_since(before)
    return Database(f"{connection.display_name} {_version()}", took)


def _milliseconds_since(before: float) -> float:
    return (time.perf_counter() - before) * 1000


def _version() -> str:
    version = connection.get_database_version() or ()
    return ".".join(str(part) for part in version)
