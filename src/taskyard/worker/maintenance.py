"""The periodic work of workers: release tasks that are due, look for work, rescue, purge.

Every worker releases and looks, because one worker may die or serve other queues. Only the oldest
worker alive does the rest. Each step is a guarded statement, so two workers at once do no harm.
"""

import logging
from collections.abc import Sequence

from django.db import DatabaseError

from taskyard.core import audit, cleanup, deletion, idempotency, leases, lifecycle, queues
from taskyard.core.conf import conf
from taskyard.core.database_errors import Outage, outage_of
from taskyard.core.fair_queue import Accountant
from taskyard.core.models import Task, Worker

logger = logging.getLogger(__name__)


def release_due() -> set[str]:
    """Make tasks ready whose time has come; the queues to notify."""
    return lifecycle.release_due()


def ready(served: Sequence[str], *, up_to: int) -> dict[str, int]:
    """Count the ready tasks of each queue, up to ``up_to``; queues without any are left out."""
    closed = queues.paused()
    counts = {
        queue: len(Task.objects.ready_in([queue]).values_list("id")[:up_to])
        for queue in served
        if queue not in closed
    }
    return {queue: count for queue, count in counts.items() if count}


def rescue(worker_id: int) -> None:
    """Take tasks from dead workers. Workers find the tasks that become ready by polling."""
    if leases.leads(worker_id):
        lifecycle.rescue(Task.objects.lost(Worker.objects.alive()))


def settle_shares(worker_id: int, accountant: Accountant) -> None:
    """Keep the shares of owners in each queue that a worker serves. Raises for outages alone."""
    if not leases.leads(worker_id):
        return
    served = Worker.objects.alive().values_list("queues", flat=True)
    for queue in {queue for names in served for queue in names}:
        try:
            accountant.settle(queue)
        except DatabaseError as error:
            if outage_of(error) not in (None, Outage.BUSY):
                raise
            logger.warning("shares not settled: %s", error, extra={"queue": queue})


def purge(worker_id: int, *, beyond_id: int, at_most: int = deletion.BATCH_SIZE) -> int | None:
    """Delete expired rows: terminal tasks, ``at_most`` of them, idempotency keys, entries of the
    audit log, leases; and run the registered cleanups.

    Returns the ``beyond_id`` of the next call; None when nothing more has to be deleted for now.
    """
    if not leases.leads(worker_id):
        return None
    if not beyond_id:
        leases.delete_expired()
        cleanup.run()
    keys = idempotency.delete_expired(at_most)
    entries = audit.delete_expired(at_most)
    deleted, go_on_at = _purge_tasks(beyond_id, at_most)
    if keys or entries or deleted:
        logger.info("purged", extra={"tasks": deleted, "keys": keys, "audit": entries})
    # Others may be left when no tasks are; -1 continues with them, because no task id is below 1.
    is_left = at_most in (keys, entries)
    return (beyond_id or -1) if go_on_at is None and is_left else go_on_at


def clean_up(worker_id: int, database: cleanup.Lock) -> bool:
    """Run the slow cleanups for about a second; whether they have left something.

    ``database`` is the lock of the connection; it is held for queries only.
    """
    with database:
        if not leases.leads(worker_id):
            return False
    return cleanup.run_slow(database)


def _purge_tasks(beyond_id: int, at_most: int) -> tuple[int, int | None]:
    days = conf().RETENTION_DAYS
    if days is None:
        return 0, None
    return deletion.purge(days, beyond_id=beyond_id, at_most=at_most)
