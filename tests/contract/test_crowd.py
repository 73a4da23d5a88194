"""Users share the processes of a live worker: one with many tasks does not hold up another."""

from typing import Any

import pytest

from tests.contract.client import User
from tests.live_system import Live

pytestmark = pytest.mark.servers


@pytest.fixture
def live(new_live: Any) -> Live:
    started: Live = new_live(
        TASKYARD_ACTIVE_LIMIT="100",
        TASKYARD_CONCURRENCY="2",
    )
    return started


def test_the_task_of_another_user_does_not_wait_for_sixty(live: Live) -> None:
    many, one = User.register(live), User.register(live)
    body = {"task_type": "busy", "input_data": {"seconds": 0.5}, "priority": "high"}
    ids = many.http.post("/tasks/bulk/", json={"tasks": [body] * 60}).json()["ids"]
    while many.task(ids[1])["started_at"] is None:
        pass
    task = one.wait(one.submit("busy", {"seconds": 0.1}, priority="low"))
    later = [many.task(task_id)["started_at"] for task_id in ids]
    begun_before = sum(began is not None and began < task["started_at"] for began in later)
    assert begun_before <= 6, "those that ran, and those of a moment"
