"""Deleting tasks that have ended, with what belongs to them; the owner's counts follow."""

from collections import Counter, defaultdict
from datetime import timedelta

from django.db import transaction
from django.db.models import BooleanField, ExpressionWrapper, F, Q
from django.db.models.functions import Greatest, Now

from taskyard.core import sql
from taskyard.core.errors import StillActive
from taskyard.core.models import Account, Task
from taskyard.core.querysets import TaskQuerySet

# Each may have a thousand lines of log.
SWEEP = 250


def delete(task: Task) -> None:
    """Forget a task that has ended, and wait for whoever holds it; raises StillActive."""
    if not _forget(Task.objects.filter(id=task.id).ended().select_for_update(of=("self",))):
        raise StillActive(status=task.status)


def purge(
    older_than_days: int, *, beyond_id: int = 0, at_most: int = SWEEP
) -> tuple[int, int | None]:
    """Look at the next tasks by id and delete those that ended so many days ago.

    How many were deleted, and where to go on; None when no task beyond can be old enough. Each
    call looks at ``at_most`` tasks, however many there are.
    """
    oldest_kept = Now() - timedelta(days=older_than_days)
    is_old = ExpressionWrapper(Q(created_at__lt=oldest_kept), output_field=BooleanField())
    behind = Task.objects.filter(id__gt=beyond_id).order_by("id")
    seen = list(behind.annotate(is_old=is_old).values_list("id", "is_old")[:at_most])
    old = [task_id for task_id, long_ago in seen if long_ago]
    if not old:
        return 0, None
    due = Task.objects.filter(sql.dialect().among(old), finished_at__lt=oldest_kept)
    deleted = _forget(due.locked())
    return deleted, old[-1] if len(old) == at_most else None


def _forget(tasks: TaskQuerySet) -> int:
    with transaction.atomic():
        found = list(tasks.values_list("id", "owner_id", "status", "size"))
        sql.forget([task_id for task_id, _, _, _ in found])
        ended: dict[int, Counter[str]] = defaultdict(Counter)
        for _, owner_id, status, size in found:
            ended[owner_id].update({status: 1, f"deleted_{status}": -1, "bytes": size})
        for owner_id, gone in sorted(ended.items()):
            Account.objects.filter(user_id=owner_id).update(
                **{name: Greatest(F(name) - many, 0) for name, many in gone.items()}
            )
    return len(found)
