"""The small periodic work that every worker carries: wake, rescue, ring, purge.

Waking is done by every worker, so that it is never late because one of them died; the rest by
the oldest one alive. Each step is guarded, so two at once do no harm.
"""

import logging

from django.conf import settings

from taskyard.catalog.task_type import registry
from taskyard.core import cleanup, deletion, idempotency, leases, lifecycle, queues
from taskyard.core.models import Task, Worker

logger = logging.getLogger(__name__)


def wake() -> set[str]:
    """Make ready what has waited long enough; the queues to ring for."""
    return lifecycle.wake()


def sweep(worker_id: int) -> set[str]:
    """Take tasks from the dead and find work that nobody rang for; the queues to ring for."""
    if not leases.leads(worker_id):
        return set()
    lifecycle.rescue(Task.objects.lost(Worker.objects.alive()))
    open_queues = set(registry.queues()) - queues.paused()
    return {queue for queue in open_queues if Task.objects.ready_in([queue]).exists()}


def purge(worker_id: int, *, beyond_id: int) -> int | None:
    """Delete what is past its time, some at a time: terminal tasks, keys, leases, and
    what other apps registered.

    Where to go on soon; None when there is nothing more to do for now.
    """
    if not leases.leads(worker_id):
        return None
    if not beyond_id:
        idempotency.forget_old()
        leases.forget_old()
        cleanup.run()
    days = settings.TASKYARD_RETENTION_DAYS
    if days is None:
        return None
    deleted, go_on_at = deletion.purge(days, beyond_id=beyond_id)
    if deleted:
        logger.info("purged", extra={"tasks": deleted})
    return go_on_at
