"""Leases: which workers are believed alive, by the database's clock.

The worker draws its id at random, so two workers never have the same id, even after a restore of
the database. A lease that is gone is never made again under its id.
"""

import os
import secrets
import socket
from collections.abc import Iterable, Sequence
from datetime import timedelta

from django.db.models.expressions import CombinedExpression
from django.db.models.functions import Now

import taskyard
from taskyard.core.conf import conf
from taskyard.core.models import Worker

# Numbers of JavaScript are exact up to 53 bits.
ID_BITS = 52


def take(*, concurrency: int, queues: Sequence[str], dead: Iterable[int] = ()) -> int:
    """Insert a lease for this process; its id. Delete the leases of the workers in ``dead``."""
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
    """Extend the lease. False if it ran out; then other workers may have taken the tasks."""
    return bool(Worker.objects.alive().filter(id=worker_id).update(lease_until=_expiry()))


def revive(worker_id: int) -> bool:
    """Extend a lease that ran out; false if the row is gone.

    Tasks that other workers took meanwhile are protected by their fence.
    """
    return bool(Worker.objects.filter(id=worker_id).update(lease_until=_expiry()))


def delete_expired() -> int:
    """Delete leases that ran out a day ago; how many."""
    return Worker.objects.filter(lease_until__lt=Now() - timedelta(days=1)).delete()[0]


def end(worker_id: int) -> None:
    """Delete the lease of a worker that stops."""
    Worker.objects.filter(id=worker_id).delete()


def leads(worker_id: int) -> bool:
    """Whether this is the oldest worker alive, which does the work of one worker at a time."""
    oldest = Worker.objects.alive().order_by("started_at", "id").values_list("id", flat=True)
    return oldest.first() == worker_id


def _expiry() -> CombinedExpression:
    return Now() + timedelta(seconds=conf().LEASE_SECONDS)
