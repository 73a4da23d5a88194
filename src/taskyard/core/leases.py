"""Leases: which workers are believed alive, by the database's clock.

An id is drawn at random by the process that inserts the row, so no two workers ever have the same
one, in a restored database neither. A lease is extended by its id and never made anew under it.
"""

import os
import secrets
import socket
from collections.abc import Iterable, Sequence
from datetime import timedelta

from django.conf import settings
from django.db.models.expressions import CombinedExpression
from django.db.models.functions import Now

import taskyard
from taskyard.core.models import Worker

# A browser's numbers are exact up to 53 bits.
ID_BITS = 52


def take(*, concurrency: int, queues: Sequence[str], dead: Iterable[int] = ()) -> int:
    """Enter this process as a worker; its id. The leases of the workers in ``dead`` end at once."""
    Worker.objects.filter(id__in=list(dead)).delete()
    worker = Worker(
        id=secrets.randbits(ID_BITS) or 1,
        host=socket.gethostname(),
        pid=os.getpid(),
        concurrency=concurrency,
        queues=list(queues),
        version=taskyard.__version__,
        lease_until=_expiry(),
    )
    worker.save(force_insert=True)
    return int(worker.pk)


def renew(worker_id: int) -> bool:
    """Beat: extend the lease. False when it had run out, and the tasks may have been taken."""
    return bool(Worker.objects.alive().filter(id=worker_id).update(lease_until=_expiry()))


def revive(worker_id: int) -> bool:
    """Extend a lease that ran out; false where it is no longer there.

    What was taken meanwhile is guarded by its fence.
    """
    return bool(Worker.objects.filter(id=worker_id).update(lease_until=_expiry()))


def delete_expired() -> int:
    """Delete leases that ran out a day ago; how many."""
    return Worker.objects.filter(lease_until__lt=Now() - timedelta(days=1)).delete()[0]


def end(worker_id: int) -> None:
    """Leave in good order."""
    Worker.objects.filter(id=worker_id).delete()


def leads(worker_id: int) -> bool:
    """Whether this is the oldest worker alive, which does what one at a time should do."""
    oldest = Worker.objects.alive().order_by("started_at", "id").values_list("id", flat=True)
    return oldest.first() == worker_id


def _expiry() -> CombinedExpression:
    return Now() + timedelta(seconds=settings.TASKYARD_LEASE_SECONDS)
