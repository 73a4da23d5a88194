"""Queues: how full they are; pausing them keeps what waits, and none of it is claimed."""

from collections.abc import Iterator
from typing import Any

from django.db import transaction
from django.db.models import Count, Q

from taskyard.catalog.task_type import registry
from taskyard.core import audit, notifications
from taskyard.core.models import PausedQueue, Task
from taskyard.core.types import UserId

COUNTS = {
    "waiting": Count("id", filter=Q(ready=True)),
    "sleeping": Count("id", filter=Q(wake_at__isnull=False)),
    "running": Count("id", filter=Q(worker__isnull=False)),
}


def pause(name: str, *, by_id: UserId | None) -> None:
    """From now on no task of the queue begins; those that run go on. Idempotent."""
    with transaction.atomic():
        _, new = PausedQueue.objects.get_or_create(name=name, defaults={"paused_by_id": by_id})
        if new:
            audit.record(by_id, "pause_queue", name)


def resume(name: str, *, by_id: UserId | None) -> None:
    """Let the queue's tasks begin again. Idempotent."""
    with transaction.atomic():
        if PausedQueue.objects.filter(name=name).delete()[0]:
            audit.record(by_id, "resume_queue", name)
        notifications.on_commit(queues={name})


def paused() -> set[str]:
    """The names of the queues that are paused."""
    return set(PausedQueue.objects.values_list("name", flat=True))


def depths() -> Iterator[dict[str, Any]]:
    """The queues of the known task types, and other queues that are paused or have tasks."""
    active = Task.objects.active().values_list("queue").annotate(**COUNTS)
    counts = {name: dict(zip(COUNTS, row, strict=True)) for name, *row in active}
    closed = paused()
    for name in sorted({*registry.queues(), *closed, *counts}):
        counted = counts.get(name, dict.fromkeys(COUNTS, 0))
        yield {"name": name, "paused": name in closed, **counted}
