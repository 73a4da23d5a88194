"""Retry an ended task as a new one, and delete a task."""

from typing import Any

import pytest

from taskyard.core.models import LogLine, Quota, Task
from taskyard.core.states import Status
from tests.api_client import IN_HOST, NOT_FOUND, SITE, ApiClient
from tests.fake_worker import FakeWorker


def test_a_retry_is_a_new_task_with_the_same_wishes(
    api: ApiClient, fake_worker: FakeWorker
) -> None:
    task_id = api.create(priority="high", max_attempts=7, timeout=9, tags=["a"]).json()["id"]
    fake_worker.end(Status.ERROR, error_code="bad_luck")
    first = api.get(f"tasks/{task_id}/").json()
    again = api.post(f"tasks/{task_id}/retry/")
    assert again.status_code == 201
    task = again.json()
    assert again.headers["Location"] == f"{SITE}tasks/{task['id']}/"
    assert (task["retry_of"], task["status"], task["attempt"]) == (task_id, "pending", 0)
    same = ("task_type", "input_data", "priority", "max_attempts", "tags", "queue")
    assert [task[name] for name in same] == [first[name] for name in same]
    assert Task.objects.get(id=task["id"]).timeout_seconds == 9
    assert api.get(f"tasks/{task_id}/").json() == first


def test_retries_make_a_chain(api: ApiClient) -> None:
    chain = [api.create().json()["id"]]
    for _ in range(7):
        assert api.post(f"tasks/{chain[-1]}/cancel/").status_code == 200
        chain.append(api.post(f"tasks/{chain[-1]}/retry/").json()["id"])
    parents = [api.get(f"tasks/{task_id}/").json()["retry_of"] for task_id in chain]
    assert parents == [None, *chain[:-1]]
    assert api.get("limits/").json()["tasks"] == chain[-1:]


def test_only_an_error_or_a_cancelled_task_is_tried_again(
    api: ApiClient, fake_worker: FakeWorker
) -> None:
    task_id = api.create().json()["id"]
    assert api.post(f"tasks/{task_id}/retry/").status_code == 409
    (claimed,) = fake_worker.claim()
    assert api.post(f"tasks/{task_id}/retry/").status_code == 409
    fake_worker.finish(claimed, Status.COMPLETED, result="6")
    refused = api.post(f"tasks/{task_id}/retry/")
    assert refused.status_code == 409
    assert refused.json()["code"] == "not_retryable"
    assert Task.objects.count() == 1


def test_a_retry_needs_a_place(api: ApiClient) -> None:
    task_id = api.create().json()["id"]
    api.post(f"tasks/{task_id}/cancel/")
    for _ in range(5):
        assert api.create().status_code == 201
    refused = api.post(f"tasks/{task_id}/retry/")
    assert refused.status_code == 400
    assert refused.json()["code"] == "active_limit_exceeded"


def test_a_type_that_is_gone_is_not_tried_again(api: ApiClient) -> None:
    task_id = api.create().json()["id"]
    api.post(f"tasks/{task_id}/cancel/")
    Task.objects.update(task_type="gone")
    refused = api.post(f"tasks/{task_id}/retry/")
    assert refused.status_code == 400
    assert refused.json() == {"task_type": ["Нет такого типа задачи."]}


def test_a_deleted_task_is_gone_with_all_that_was_kept_of_it(
    api: ApiClient, fake_worker: FakeWorker
) -> None:
    task_id = api.create().json()["id"]
    fake_worker.end(Status.ERROR, error_code="bad_luck")
    again = api.post(f"tasks/{task_id}/retry/").json()["id"]
    LogLine.objects.create(task_id=task_id, attempt=1, at="2030-01-01T00:00:00Z", message="x")
    deleted = api.ask("DELETE", f"tasks/{task_id}/")
    assert (deleted.status_code, deleted.content) == (204, b"")
    assert api.get(f"tasks/{task_id}/").status_code == 404
    assert api.ask("DELETE", f"tasks/{task_id}/").status_code == 404
    assert not LogLine.objects.exists()
    assert api.get(f"tasks/{again}/").json()["retry_of"] is None
    assert Quota.objects.get().active == 1


def test_an_active_task_is_not_deleted(api: ApiClient, fake_worker: FakeWorker) -> None:
    task_id = api.create().json()["id"]
    for _ in range(2):
        refused = api.ask("DELETE", f"tasks/{task_id}")
        assert refused.status_code == 409
        assert refused.json()["code"] == "task_active"
        fake_worker.claim()
    assert api.get(f"tasks/{task_id}/").json()["status"] == "in_progress"


OWN = [
    ("GET", ""), ("DELETE", ""), ("POST", "cancel/"), ("POST", "retry/"), ("GET", "attempts/"),
    ("GET", "logs/"), ("GET", "events/"),
]  # fmt: skip


@pytest.mark.parametrize("status", [Status.PENDING, Status.COMPLETED, Status.CANCELLED])
@pytest.mark.parametrize(("method", "path"), OWN)
def test_anothers_task_and_none_are_the_same_to_every_verb(
    api: ApiClient, other: ApiClient, fake_worker: FakeWorker, method: str, path: str, status: Any
) -> None:
    theirs = other.create().json()["id"]
    if status != Status.PENDING:
        fake_worker.end(status)
    before = other.get(f"tasks/{theirs}/").json()
    answers = [
        api.ask(method, f"tasks/{task_id}/{path}")
        for task_id in (theirs, theirs + 10**6, 0, 2**63 - 1, 2**63, 10**18, -1, "x")
    ]
    assert {answer.status_code for answer in answers} == {404}
    assert {answer.content for answer in answers} == {
        f'{{"detail":"{NOT_FOUND}","code":"not_found"}}'.encode()
    }
    headers = [dict(answer.headers) for answer in answers[:6]]
    if not IN_HOST:
        assert len({each.pop("X-Request-ID") for each in headers}) == len(headers)
    assert all(each == headers[0] for each in headers)
    assert other.get(f"tasks/{theirs}/").json() == before
