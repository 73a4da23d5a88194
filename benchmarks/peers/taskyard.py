"""Taskyard measured like its peers: the same backlog and the same rule, with results and quota."""

import os
import sys
from typing import Any

from benchmarks.peers.programs import play

USERS = 100
AT_ONCE = 1000


def _environment() -> None:
    os.environ |= {
        "DATABASE_URL": os.environ["BENCH_POSTGRESQL_URL"],
        "REDIS_URL": os.environ["BENCH_REDIS_URL"],
        "TASKYARD_HOME": os.path.join(os.environ["BENCH_TALLIES"], "home"),
        "TASKYARD_TASK_TYPES": "benchmarks.task_types",
        "TASKYARD_ACTIVE_LIMIT": "1000000",
        "TASKYARD_SUBMIT_RATE": "999999999/s",
        "TASKYARD_BYTES_PER_USER": "1000 TiB",
        "TASKYARD_CONCURRENCY": "2",
    }


def _django() -> None:
    from taskyard.server.django_setup import load_django

    _environment()
    load_django()


def fill(count: int) -> None:
    """Submit as the web does, in bodies of a thousand."""
    _django()
    from django.core.management import call_command

    from taskyard.accounts.models import User
    from taskyard.core import lifecycle
    from taskyard.core.types import NewTask

    call_command("migrate", verbosity=0)
    users = User.objects.bulk_create(User(username=f"user-{n}", password="!") for n in range(USERS))
    for place, first in enumerate(range(0, count, AT_ONCE)):
        new = [
            NewTask(task_type="tallied-sum", queue="default", input_data={"numbers": [n, 1]})
            for n in range(first, min(first + AT_ONCE, count))
        ]
        lifecycle.submit_all(users[place % USERS].pk, new)


def work(_: int) -> None:
    _environment()
    os.execv(sys.executable, [sys.executable, "-m", "taskyard.server.cli", "worker"])


def kept(_: int) -> int:
    """Read every result back, and require that each owner's quota place was released."""
    _django()
    from django.db.models import Sum

    from taskyard.core.models import Quota, Task

    active: dict[str, Any] = Quota.objects.aggregate(left=Sum("active"))
    assert active["left"] == 0, "the quota is not what it should be"
    return sum(each["result"] for each in Task.objects.values_list("result", flat=True).iterator())


if __name__ == "__main__":
    play(fill=fill, work=work, kept=kept)
