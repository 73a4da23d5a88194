"""Owners, tasks and workers on the database of the run."""

from collections.abc import Callable
from typing import Any

import pytest

from taskyard.core import leases, lifecycle
from taskyard.core.models import Task
from taskyard.core.types import ClaimedTask, NewTask

CAPS = {"sum": 100, "countdown": 100, "slow": 1}


def new_task(task_type: str = "sum", **options: Any) -> NewTask:
    return NewTask(
        **{"task_type": task_type, "queue": "default", "input_data": {"numbers": [1, 2, 3]}}
        | options
    )


@pytest.fixture
def owner_id(django_user_model: Any) -> int:
    return int(django_user_model.objects.create_user("owner", password="password123").pk)


@pytest.fixture
def worker_id(owner_id: int) -> int:
    return leases.take(concurrency=1, queues=["default"])


@pytest.fixture
def submit(owner_id: int) -> Callable[..., Task]:
    return lambda *args, **options: lifecycle.submit(owner_id, new_task(*args, **options))


@pytest.fixture
def claim(worker_id: int) -> Callable[..., list[ClaimedTask]]:
    def claim(process: int = 1, **batch_sizes: int) -> list[ClaimedTask]:
        return lifecycle.claim(
            "default", batch_sizes or CAPS, worker_id=worker_id, process=process
        )[0]

    return claim
