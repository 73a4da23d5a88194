"""The small periodic work that every worker carries: wake, look for work, rescue, purge.

Waking and looking are done by every worker, so that neither is late because one of them died or
knows other queues; the rest by the oldest one alive. Each step is guarded, so two at once do no
harm.
"""

import logging
from collections.abc import Sequence

from django.conf import settings

from taskyard.core import cleanup, deletion, idempotency, leases, lifecycle, queues
from taskyard.core.models import Task, Worker

logger = logging.getLogger(__name__)


def release_due() -> set[str]:
    """Make ready what has waited long enough; the queues to notify."""
    return lifecycle.release_due()


def ready(served: Sequence[str], *, up_to: int) -> dict[str, int]:
    """How many tasks wait in each of these queues, ``up_to`` so many; only those where some do."""
    closed = queues.paused()
    counts = {
        queue: len(Task.objects.ready_in([queue]).values_list("id")[:up_to])
        for queue in served
        if queue not in closed
    }
    return {queue: count for queue, count in counts.items() if count}


def sweep(worker_id: int) -> None:
    """Take tasks from the dead; each worker finds by itself what has become ready so."""
    if leases.leads(worker_id):
        lifecycle.rescue(Task.objects.lost(Worker.objects.alive()))


def purge(worker_id: int, *, beyond_id: int, at_most: int = deletion.SWEEP) -> int | None:
    """Delete what is past its time, ``at_most`` tasks of it: terminal tasks, keys, leases, and
    what other apps registered.

    Where to go on soon; None when there is nothing more to do for now.
    """
    if not leases.leads(worker_id):
        return None
    if not beyond_id:
        leases.delete_expired()
        cleanup.run()
    keys = idempotency.delete_expired(at_most)
    deleted, go_on_at = _purge_tasks(beyond_id, at_most)
    if keys or deleted:
        logger.info("purged", extra={"tasks": deleted, "keys": keys})
    # Keys may be left where no tasks are; no task has a number below 1.
    return (beyond_id or -1) if go_on_at is None and keys == at_most else go_on_at


def _purge_tasks(beyond_id: int, at_most: int) -> tuple[int, int | None]:
    days = settings.TASKYARD_RETENTION_DAYS
    if days is None:
        return 0, None
    return deletion.purge(days, beyond_id=beyond_id, at_most=at_most)
