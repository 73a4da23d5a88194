"""Leases: which workers are believed alive, by the database's clock."""

import os
import socket
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta

from django.conf import settings
from django.db.models.expressions import CombinedExpression
from django.db.models.functions import Now

import taskyard
from taskyard.core.models import Worker


def here() -> str:
    """This machine and process namespace: within it, a process id names one process."""
    with suppress(OSError):
        return f"{socket.gethostname()} {os.readlink('/proc/self/ns/pid')}"
    return socket.gethostname()


def take(*, concurrency: int, queues: Sequence[str]) -> int:
    """Enter this process as a worker; its id. Leases of dead processes beside it end at once."""
    for worker in Worker.objects.filter(host=here()):
        if not _runs(worker.pid) or worker.pid == os.getpid():
            worker.delete()
    worker = Worker.objects.create(
        host=here(),
        pid=os.getpid(),
        concurrency=concurrency,
        queues=list(queues),
        version=taskyard.__version__,
        lease_until=_expiry(),
    )
    return int(worker.pk)


def renew(worker_id: int) -> bool:
    """Beat: extend the lease. False when it had run out, and the tasks may have been taken."""
    return bool(Worker.objects.alive().filter(id=worker_id).update(lease_until=_expiry()))


def revive(worker_id: int, *, concurrency: int, queues: Sequence[str]) -> None:
    """Take the lease again after it ran out. What was taken meanwhile is guarded by its fence."""
    Worker.objects.update_or_create(
        id=worker_id,
        defaults={
            "host": here(),
            "pid": os.getpid(),
            "concurrency": concurrency,
            "queues": list(queues),
            "version": taskyard.__version__,
            "lease_until": _expiry(),
        },
    )


def forget_old() -> int:
    """Delete leases that ran out a day ago; how many."""
    return Worker.objects.filter(lease_until__lt=Now() - timedelta(days=1)).delete()[0]


def end(worker_id: int) -> None:
    """Leave in good order."""
    Worker.objects.filter(id=worker_id).delete()


def leads(worker_id: int) -> bool:
    """Whether this is the oldest worker alive, which does what one at a time should do."""
    return Worker.objects.alive().order_by("id").values_list("id", flat=True).first() == worker_id


def _expiry() -> CombinedExpression:
    return Now() + timedelta(seconds=settings.TASKYARD_LEASE_SECONDS)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
