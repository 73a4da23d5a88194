"""Delete tasks that have ended, with all that belongs to them, and adjust the owner's counts."""

import logging
from collections import Counter, defaultdict
from datetime import timedelta

from django.db import OperationalError, transaction
from django.db.models import BooleanField, ExpressionWrapper, F, ProtectedError, Q, RestrictedError
from django.db.models.functions import Greatest, Now

from taskyard.core import busy
from taskyard.core.database_errors import Outage, outage_of
from taskyard.core.engine import delete_tasks, engine
from taskyard.core.errors import StillActive, StillReferenced
from taskyard.core.models import Quota, Task
from taskyard.core.querysets import TaskQuerySet
from taskyard.core.types import UserId

# A task may have a thousand log lines.
BATCH_SIZE = 250
logger = logging.getLogger(__name__)


def delete(task: Task) -> None:
    """Delete a task that has ended; wait if its row is locked.

    Raises StillActive, StillReferenced.
    """
    found = Task.objects.filter(id=task.id).ended().select_for_update(of=("self",))
    try:
        _, deleted = _forget(found, lambda owner_ids: set())
    except (ProtectedError, RestrictedError):
        raise StillReferenced from None
    if not deleted:
        raise StillActive(status=task.status)


def purge(
    older_than_days: int, *, beyond_id: int = 0, at_most: int = BATCH_SIZE
) -> tuple[int, int | None]:
    """Look at the next tasks by id and delete those that ended so many days ago.

    Returns how many were deleted, and the id to go on from; None if no later task can be old
    enough. Each call looks at ``at_most`` tasks. Left for a later call are tasks that another
    transaction has locked, tasks whose owner's quota is locked, and all of them if a row that
    belongs to one of them is locked. Kept are tasks that a row of a host project protects.
    """
    oldest_kept = Now() - timedelta(days=older_than_days)
    is_old = ExpressionWrapper(Q(created_at__lt=oldest_kept), output_field=BooleanField())
    behind = Task.objects.filter(id__gt=beyond_id).order_by("id")
    seen = list(behind.annotate(is_old=is_old).values_list("id", "is_old")[:at_most])
    old = [task_id for task_id, long_ago in seen if long_ago]
    if not old:
        return 0, None
    due = Task.objects.filter(engine().id_in(old), finished_at__lt=oldest_kept)
    deleted = 0

    def forget(tasks: TaskQuerySet, lock: busy.Lock) -> busy.Looked:
        nonlocal deleted
        with transaction.atomic():
            engine().wait_for_locks(busy.WAIT_SECONDS)  # of rows that belong to the tasks
            try:
                with transaction.atomic():
                    looked, gone = _forget(tasks.lock_skipping(), lock)
            except (ProtectedError, RestrictedError):
                looked, gone = _forget(tasks.exclude(id__in=_protected(old)).lock_skipping(), lock)
        deleted += gone
        return looked._replace(tasks=at_most) if looked.busy else looked

    try:
        busy.sparing_the_busy(due, forget, at_most=at_most)
    except OperationalError as error:
        if outage_of(error) is not Outage.BUSY:
            raise
        logger.warning("not deleted yet: %s", error)
    return deleted, old[-1] if len(old) == at_most else None


def _protected(task_ids: list[int]) -> list[int]:
    """Those of the tasks that cannot be deleted alone."""
    protected = []
    for task_id in task_ids:
        with transaction.atomic():
            try:
                delete_tasks([task_id], with_files=[task_id])
            except (ProtectedError, RestrictedError):
                protected.append(task_id)
            transaction.set_rollback(True)
    return protected


def _forget(tasks: TaskQuerySet, lock: busy.Lock) -> tuple[busy.Looked, int]:
    """Delete these tasks; or none, if the quota of one of their owners is locked.

    Accounts are locked last, because tasks that refer to these are updated before. The place of an
    active task is not released here: only ended tasks are deleted.
    """
    with transaction.atomic():
        found = list(tasks.values_list("id", "owner_id", "status", "size", "has_files"))
        delete_tasks([row[0] for row in found], with_files=[row[0] for row in found if row[4]])
        ended: dict[UserId, Counter[str]] = defaultdict(Counter)
        for _, owner_id, status, size, _ in found:
            if owner_id is not None:
                ended[owner_id].update({status: 1, f"deleted_{status}": -1, "bytes": size})
        if owners := lock(ended):
            transaction.set_rollback(True)
            return busy.Looked(len(found), owners), 0
        for owner_id, gone in ended.items():
            Quota.objects.filter(user_id=owner_id).update(
                **{name: Greatest(F(name) - many, 0) for name, many in gone.items()}
            )
    return busy.Looked(len(found), set()), len(found)
