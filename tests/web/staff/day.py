"""A day of history for a screenshot: most tasks in the evening, and some failures."""

from datetime import timedelta
from random import Random

from django.utils import timezone

from taskyard.accounts.models import User
from taskyard.core.models import Quota, Task
from taskyard.core.states import Status

MANY = 4000


def fill(username: str) -> None:
    """Create tasks that ended within the last day. Runs in a process of the live system."""
    chance = Random(7)
    owner = User.objects.get(username=username)
    now = timezone.now()
    tasks = []
    for number in range(MANY):
        ended_at = now - timedelta(hours=24) * (1 - number / MANY) ** 1.6
        ended_at -= timedelta(seconds=chance.random() * 60)
        ran = timedelta(seconds=chance.expovariate(0.4))
        waited = timedelta(seconds=chance.expovariate(4))
        failed = chance.random() < 0.02
        tasks.append(
            Task(
                owner=owner,
                task_type=chance.choice(["sum", "countdown", "report"]),
                queue="default",
                input_data={},
                status=Status.ERROR if failed else Status.COMPLETED,
                error_code=chance.choice(["timeout", "exception"]) if failed else "",
                error_message="The upstream did not answer." if failed else "",
                ready=False,
                attempt=1,
                created_at=ended_at - ran - waited,
                started_at=ended_at - ran,
                finished_at=ended_at,
            )
        )
    Task.objects.bulk_create(tasks, batch_size=500)
    bad = sum(task.status == Status.ERROR for task in tasks)
    Quota.objects.filter(user=owner).update(completed=MANY - bad, error=bad)
