"""Types of the project's own code: users do not see them and cannot submit them."""

from collections.abc import Iterator
from typing import Any

import pytest

from taskyard import jobs
from taskyard.catalog.task_type import TaskType, registry
from taskyard.core import lifecycle
from taskyard.core.types import NewTask
from tests.api_client import ApiClient

NAME = "shop.tasks.refund"


@pytest.fixture(autouse=True)
def internal() -> Iterator[None]:
    def refund(order_id: int) -> None: ...

    registry.add(TaskType(NAME, refund, label="Refund", description="", internal=True))
    yield
    del registry._types[NAME]


@pytest.mark.django_db
def test_the_api_does_not_know_them(api: ApiClient) -> None:
    assert NAME not in [each["name"] for each in api.get("task-types/").json()]
    assert api.get(f"task-types/{NAME}/").status_code == 404
    answer = api.post("tasks/create/", {"task_type": NAME, "input_data": {"order_id": 7}})
    assert (answer.status_code, list(answer.json())) == (400, ["task_type"])
    assert NAME not in api.get("schema/").content.decode()


@pytest.mark.django_db
def test_code_cannot_submit_them_by_their_name(db: None) -> None:
    with pytest.raises(jobs.InvalidInput, match="no such task type"):
        jobs.submit(NAME, {"order_id": 7})


@pytest.mark.django_db
def test_an_owner_sees_a_task_and_cannot_retry_it(api: ApiClient, user: Any) -> None:
    task = lifecycle.submit(user.pk, NewTask(NAME, "default", {"order_id": 7}, priority=50))
    shown = api.get(f"tasks/{task.pk}/").json()
    assert (shown["task_type"], shown["priority"]) == (NAME, "high")
    jobs.cancel(task.pk)
    answer = api.post(f"tasks/{task.pk}/retry/")
    assert (answer.status_code, list(answer.json())) == (400, ["task_type"])
