"""Insert tasks that ended long ago, for a purge; a tenth has a log, past attempts, a retry."""

from tests.live_system import Live

FILL = """
from datetime import timedelta
from django.utils import timezone
from taskyard.accounts.models import User
from taskyard.core.models import Quota, Attempt, AttemptTraceback, IdempotencyKey, LogLine, Task
owner = User.objects.get(username="{owner}").pk
then = timezone.now() - timedelta(days=30)
ended = dict(created_at=then, started_at=then, claimed_at=then, finished_at=then, ready=False)
def task(**options):
    return Task(owner_id=owner, task_type="sum", queue="default", status="completed", attempt=1,
        input_data=dict(numbers=[1, 2, 3]), result=dict(result=6), **ended, **options)
made = Task.objects.bulk_create([task() for _ in range({count})], batch_size=1000)
some = made[::10]
Task.objects.bulk_create([task(retry_of=each) for each in some[:100]], batch_size=1000)
LogLine.objects.bulk_create(
    [LogLine(task=each, attempt=1, at=then, message="said") for each in some for _ in range(5)],
    batch_size=1000)
Attempt.objects.bulk_create(
    [Attempt(task=each, number=1, fence=1, started_at=then, error_code="retry") for each in some],
    batch_size=1000)
IdempotencyKey.objects.bulk_create(
    [IdempotencyKey(owner_id=owner, key=str(n), fingerprint="", task_ids=[each.pk], created_at=then)
     for n, each in enumerate(some)], batch_size=1000)
Quota.objects.filter(user_id=owner).update(completed=len(made) + len(some[:100]))
"""
LEFT = """
from taskyard.core.models import Quota, Attempt, IdempotencyKey, LogLine, Task
print([model.objects.count() for model in (Task, LogLine, Attempt, IdempotencyKey)],
    sum(Quota.objects.values_list("completed", flat=True)))
"""


def fill(live: Live, *, owner: str, count: int) -> None:
    live.command("manage", "shell", "--no-imports", "-c", FILL.format(owner=owner, count=count))


def left(live: Live) -> str:
    """The numbers of tasks, lines, attempts and keys, and the counters of tasks."""
    return live.command("manage", "shell", "--no-imports", "-c", LEFT).strip()
