"""The response to a cancel says what happened to the task."""

import pytest

from taskyard.core.models import Quota, Task
from taskyard.core.states import Status
from tests.api_client import ApiClient
from tests.fake_worker import FakeWorker


@pytest.mark.parametrize("options", [{}, {"delay": 3600}])
def test_a_task_that_no_process_holds_is_cancelled_at_once(api: ApiClient, options: dict) -> None:
    task_id = api.create(**options).json()["id"]
    cancelled = api.post(f"tasks/{task_id}/cancel/")
    assert cancelled.status_code == 200
    task = cancelled.json()
    assert task == api.get(f"tasks/{task_id}/").json()
    assert (task["status"], task["result"], task["error"]) == ("cancelled", None, None)
    assert task["cancel_requested_at"]
    assert task["finished_at"]
    assert api.get("limits/").json()["tasks"] == []
    assert Quota.objects.get().active == 0


def test_cancelling_twice_is_no_error_and_changes_nothing(api: ApiClient) -> None:
    task_id = api.create().json()["id"]
    first = api.post(f"tasks/{task_id}/cancel")
    again = api.post(f"tasks/{task_id}/cancel")
    assert (again.status_code, again.json()) == (200, first.json())


def test_a_running_task_is_asked_to_stop(api: ApiClient, fake_worker: FakeWorker) -> None:
    task_id = api.create().json()["id"]
    (claimed,) = fake_worker.claim()
    asked = api.post(f"tasks/{task_id}/cancel/")
    assert asked.status_code == 202
    assert asked.json()["status"] == "in_progress"
    assert asked.json()["cancel_requested_at"]
    assert Task.objects.get().cancel_requested_by_id == Quota.objects.get().pk
    again = api.post(f"tasks/{task_id}/cancel/")
    assert (again.status_code, again.json()) == (202, asked.json())
    assert fake_worker.finish(claimed, Status.CANCELLED, error_code="cancelled_by_handler")
    task = api.post(f"tasks/{task_id}/cancel/")
    assert task.status_code == 200
    assert (task.json()["result"], task.json()["error"]) == (None, None)


@pytest.mark.parametrize("status", [Status.COMPLETED, Status.ERROR])
def test_a_task_that_has_ended_otherwise_stays_so(
    api: ApiClient, fake_worker: FakeWorker, status: Status
) -> None:
    task_id = api.create().json()["id"]
    fake_worker.end(status, error_code="" if status == Status.COMPLETED else "bad_luck")
    before = api.get(f"tasks/{task_id}/").json()
    refused = api.post(f"tasks/{task_id}/cancel/")
    assert refused.status_code == 409
    assert refused.json() == {"detail": "Задача уже завершилась.", "code": "already_finished"}
    assert api.get(f"tasks/{task_id}/").json() == before


@pytest.mark.parametrize("body", [b"", b"{}", b"not json"])
def test_a_body_is_not_looked_at(api: ApiClient, body: bytes) -> None:
    task_id = api.create().json()["id"]
    answer = api.ask("POST", f"tasks/{task_id}/cancel/", body, content_type="text/plain")
    assert answer.status_code == 200
