"""Cancel and retry many tasks, in batches that are committed one by one.

Nothing is stored between two calls. A task that was cancelled or retried no longer matches, so the
same call goes on where the last one stopped.
"""

import time

from django.db import OperationalError, transaction
from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Coalesce

from taskyard.catalog.schema import InvalidInput
from taskyard.catalog.task_type import registry
from taskyard.core import lifecycle
from taskyard.core.busy import WAIT_SECONDS
from taskyard.core.conf import conf
from taskyard.core.database_errors import Outage, outage_of
from taskyard.core.engine import engine
from taskyard.core.errors import InputNotKept, QuotaExceeded, SecretUnreadable
from taskyard.core.models import Quota, Task
from taskyard.core.querysets import TaskQuerySet
from taskyard.core.types import UserId

BATCH = 100


def cancellable(tasks: TaskQuerySet) -> TaskQuerySet:
    """Those that are active and have no requested cancel."""
    return tasks.active().filter(cancel_requested_at=None)


def retryable(tasks: TaskQuerySet) -> TaskQuerySet:
    """Those that ended in error or were cancelled, have a known type, and were not retried yet."""
    retries = Task.objects.filter(retry_of=OuterRef("pk"))
    known = [task_type.name for task_type in registry.all()]
    return tasks.failed().filter(~Exists(retries), task_type__in=known)


def cancel(tasks: TaskQuerySet, *, by_id: UserId | None, seconds: float) -> int:
    """Cancel the cancellable of these tasks for at most ``seconds``; how many."""
    done, until = 0, time.monotonic() + seconds
    while batch := lifecycle.cancel_next(tasks, by_id=by_id):
        done += batch
        if time.monotonic() >= until:
            break
    return done


def retry(tasks: TaskQuerySet, *, seconds: float) -> int:
    """Retry the retryable of these tasks for at most ``seconds``; how many.

    Left out are tasks of owners without a free place, and tasks that are locked or whose quota
    is.
    """
    done, until = 0, time.monotonic() + seconds
    full: set[UserId] = set()
    refused: set[int] = set()
    limit = Coalesce("active_limit", conf().ACTIVE_LIMIT)
    with_place = Quota.objects.filter(active__lt=limit).values("user_id")
    has_place = Q(owner_id__in=with_place) | Q(owner=None)
    while True:
        open_to = retryable(tasks).filter(has_place).exclude(owner_id__in=full)
        if refused:
            open_to = open_to.exclude(pk__in=refused)
        batch = list(open_to.order_by("finished_at")[:BATCH])
        if not batch:
            return done
        for task in batch:
            try:
                done += _retried(task, full)
            except (InvalidInput, InputNotKept, SecretUnreadable):
                refused.add(task.pk)  # a file that it uses was deleted, or the input itself
            if time.monotonic() >= until:
                return done


def _retried(task: Task, full: set[UserId]) -> bool:
    if task.owner_id in full:
        return False
    try:
        with transaction.atomic():
            engine().wait_for_locks(WAIT_SECONDS)
            # If two callers retry the same task, the second one sees the new task of the first.
            Task.objects.select_for_update(of=("self",), no_key=True).get(pk=task.pk)
            if Task.objects.filter(retry_of=task).exists():
                return False
            lifecycle.retry(task)
    except QuotaExceeded:
        full.add(task.owner_id)
        return False
    except Task.DoesNotExist:
        return False
    except OperationalError as error:
        if outage_of(error) is not Outage.BUSY:
            raise
        full.add(task.owner_id)
        return False
    return True
