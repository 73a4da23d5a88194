"""Pausing queues: what waits in a paused one is kept, and none of it is claimed."""

from taskyard.core import announcements
from taskyard.core.models import PausedQueue


def pause(name: str, *, by_id: int | None) -> None:
    """From now on no task of the queue begins; those that run go on. Idempotent."""
    PausedQueue.objects.get_or_create(name=name, defaults={"paused_by_id": by_id})


def resume(name: str) -> None:
    """Let the queue's tasks begin again. Idempotent."""
    PausedQueue.objects.filter(name=name).delete()
    announcements.on_commit({name}, ())


def paused() -> set[str]:
    """The names of the queues that are paused."""
    return set(PausedQueue.objects.values_list("name", flat=True))
