"""Tasks and workers on the database of the run."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from taskyard.core import hints, lifecycle, notifications, wakeup
from taskyard.core.models import Task
from taskyard.core.types import Change, ClaimedTask, NewTask, UserId
from tests.fake_worker import take_lease

CAPS = {"sum": 100, "countdown": 100, "slow": 1}


def new_task(task_type: str = "sum", **options: Any) -> NewTask:
    return NewTask(
        **{"task_type": task_type, "queue": "default", "input_data": {"numbers": [1, 2, 3]}}
        | options
    )


@pytest.fixture
def worker_id(owner_id: UserId) -> int:
    return take_lease("default")


@pytest.fixture
def submit(owner_id: UserId) -> Callable[..., Task]:
    return lambda *args, **options: lifecycle.submit(owner_id, new_task(*args, **options))


@pytest.fixture
def claim(worker_id: int) -> Callable[..., list[ClaimedTask]]:
    def claim(process: int = 1, **batch_sizes: int) -> list[ClaimedTask]:
        return lifecycle.claim(
            "default", batch_sizes or CAPS, worker_id=worker_id, process=process
        )[0]

    return claim


@pytest.fixture
def published() -> Iterator[list[Change]]:
    """The changes that are published, to a publisher of a host instead of the streams."""
    changes: list[Change] = []
    notifications.register_change_publisher(changes.extend)
    yield changes
    notifications.register_change_publisher(hints.publish)


@pytest.fixture
def notified() -> Iterator[list[str]]:
    """The queues that are notified of work, to a notifier of a host instead of the workers."""
    queues: list[str] = []
    notifications.register_queue_notifier(queues.append)
    yield queues
    notifications.register_queue_notifier(wakeup.notify)
