"""Idempotency-Key: a repeated request creates no second task."""

from typing import Any

import pytest

from taskyard.core.models import IdempotencyKey, Quota, Task
from taskyard.core.states import Status
from tests.api_client import ApiClient
from tests.core.test_races import at_once
from tests.fake_worker import FakeWorker

SUM = {"task_type": "sum", "input_data": {"numbers": [1]}}


def submit(api: ApiClient, body: Any, key: str = "k", path: str = "tasks/create/") -> Any:
    return api.post(path, body, Idempotency_Key=key)


def test_the_same_again_is_the_same_task_as_it_is_now(
    api: ApiClient, fake_worker: FakeWorker
) -> None:
    first = submit(api, SUM)
    assert first.status_code == 201
    assert "Idempotency-Replayed" not in first.headers
    fake_worker.end(Status.COMPLETED, result='{"result": 1}')
    again = submit(api, SUM)
    assert again.status_code == 201
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.headers["Location"] == first.headers["Location"]
    assert again.json() == api.get(f"tasks/{first.json()['id']}/").json()
    assert again.json()["status"] == "completed"
    assert Task.objects.count() == 1


def test_the_order_of_keys_and_the_address_do_not_matter(api: ApiClient) -> None:
    first = submit(api, {"task_type": "sum", "input_data": {"numbers": [1]}})
    body = b'{ "input_data": {"numbers": [1]},\n "task_type": "sum" }'
    again = api.ask("POST", "tasks", body, Idempotency_Key="k")
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.json()["id"] == first.json()["id"]


def test_the_key_is_not_for_another_request(api: ApiClient) -> None:
    submit(api, SUM)
    for body, path in (
        (SUM | {"tags": ["x"]}, "tasks/create/"),
        ({"task_type": "sum", "input_data": {"numbers": [1.0]}}, "tasks/create/"),
        ({"tasks": [SUM]}, "tasks/bulk/"),
    ):
        refused = submit(api, body, path=path)
        assert refused.status_code == 422
        assert refused.json()["code"] == "idempotency_key_reused"
    assert Task.objects.count() == Quota.objects.get().active == 1


def test_a_repetition_needs_no_place(api: ApiClient) -> None:
    first = submit(api, SUM)
    for _ in range(4):
        assert api.create().status_code == 201
    assert api.create().status_code == 400
    again = submit(api, SUM)
    assert (again.status_code, again.json()) == (201, first.json())
    assert api.get("limits/").json()["active"] == 5


def test_a_refused_request_leaves_the_key_free(api: ApiClient) -> None:
    ids = [api.create().json()["id"] for _ in range(5)]
    assert submit(api, SUM).status_code == 400
    assert submit(api, {"task_type": "nope", "input_data": {}}).status_code == 400
    assert not IdempotencyKey.objects.exists()
    api.post(f"tasks/{ids[0]}/cancel/")
    assert "Idempotency-Replayed" not in submit(api, SUM).headers


def test_a_key_is_its_users_own(api: ApiClient, other: ApiClient) -> None:
    assert submit(api, SUM).json()["id"] != submit(other, SUM).json()["id"]


def test_a_task_deleted_since_is_not_made_again(api: ApiClient) -> None:
    task_id = submit(api, SUM).json()["id"]
    api.post(f"tasks/{task_id}/cancel/")
    assert api.ask("DELETE", f"tasks/{task_id}/").status_code == 204
    refused = submit(api, SUM)
    assert refused.status_code == 409
    assert refused.json()["code"] == "idempotent_task_deleted"
    assert not Task.objects.exists()


def test_a_bulk_again_is_the_same_bulk(api: ApiClient) -> None:
    body = {"tasks": [SUM] * 5}
    first = submit(api, body, path="tasks/bulk/")
    again = submit(api, body, path="tasks/bulk")
    assert (again.status_code, again.json()) == (201, first.json())
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"
    assert Task.objects.count() == 5


@pytest.mark.parametrize("key", ["", "é", "a\tb", "x" * 256, "ключ", "\x7f", "a\nb"], ids=ascii)
@pytest.mark.parametrize("path", ["tasks/create/", "tasks/bulk/"])
def test_a_key_that_is_none_is_refused(api: ApiClient, key: str, path: str) -> None:
    refused = submit(api, SUM, key, path)
    assert refused.status_code == 400
    assert refused.json()["code"] == "idempotency_key_invalid"
    assert not Task.objects.exists()


@pytest.mark.parametrize("key", ["x" * 255, '"8e03978e-40d5"', "a b", "~!%00'\\"])
def test_any_printable_ascii_is_a_key(api: ApiClient, key: str) -> None:
    assert submit(api, SUM, key).status_code == 201
    assert submit(api, SUM, key).headers["Idempotency-Replayed"] == "true"


@pytest.fixture
def failed(api: ApiClient, fake_worker: FakeWorker) -> int:
    """A task that ended in error."""
    task_id: int = api.create().json()["id"]
    fake_worker.end(Status.ERROR, error_code="x", error_message="x")
    return task_id


def test_a_retry_again_is_the_same_new_task(api: ApiClient, failed: int) -> None:
    first = submit(api, None, path=f"tasks/{failed}/retry/")
    again = submit(api, None, path=f"tasks/{failed}/retry")
    assert (first.status_code, again.status_code) == (201, 201)
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.headers["Location"] == first.headers["Location"]
    assert again.json() == first.json()
    assert first.json()["retry_of"] == failed
    assert Task.objects.count() == 2
    assert Quota.objects.get().active == 1


def test_a_retry_needs_no_second_place(api: ApiClient, failed: int) -> None:
    first = submit(api, None, path=f"tasks/{failed}/retry/")
    for _ in range(4):
        assert api.create().status_code == 201
    again = submit(api, None, path=f"tasks/{failed}/retry/")
    assert (again.status_code, again.json()["id"]) == (201, first.json()["id"])


def test_a_key_of_a_retry_is_not_for_another_request(
    api: ApiClient, failed: int, fake_worker: FakeWorker
) -> None:
    submit(api, SUM, "of a create")
    submit(api, None, "k", f"tasks/{failed}/retry/")
    fake_worker.end(Status.ERROR, error_code="x", error_message="x")
    other_failed = Task.objects.latest("id").pk
    for path, body, key in (
        (f"tasks/{other_failed}/retry/", None, "k"),
        ("tasks/create/", SUM, "k"),
        ("tasks/bulk/", {"tasks": [SUM]}, "k"),
        (f"tasks/{failed}/retry/", None, "of a create"),
    ):
        refused = submit(api, body, key, path)
        assert refused.status_code == 422, path
        assert refused.json()["code"] == "idempotency_key_reused"
    assert Task.objects.count() == 3


def test_a_retry_again_is_answered_when_the_first_task_is_gone(api: ApiClient, failed: int) -> None:
    first = submit(api, None, path=f"tasks/{failed}/retry/")
    assert api.ask("DELETE", f"tasks/{failed}/").status_code == 204
    again = submit(api, None, path=f"tasks/{failed}/retry/")
    assert (again.status_code, again.json()["id"]) == (201, first.json()["id"])
    assert submit(api, None, "another", f"tasks/{failed}/retry/").status_code == 404


def test_a_refused_retry_leaves_the_key_free(
    api: ApiClient, other: ApiClient, fake_worker: FakeWorker
) -> None:
    task_id = api.create().json()["id"]
    assert submit(api, None, path=f"tasks/{task_id}/retry/").status_code == 409
    assert submit(other, None, path=f"tasks/{task_id}/retry/").status_code == 404
    assert submit(api, None, "", path=f"tasks/{task_id}/retry/").status_code == 400
    assert not IdempotencyKey.objects.exists()
    fake_worker.end(Status.ERROR, error_code="x", error_message="x")
    assert submit(api, None, path=f"tasks/{task_id}/retry/").status_code == 201


@pytest.mark.django_db(transaction=True)
def test_retries_at_once_under_one_key_make_one_task(api: ApiClient, failed: int) -> None:
    answers = at_once(
        8, lambda n: submit(api, None, path=f"tasks/{failed}/retry/").json()["id"], 16
    )
    assert len(set(answers)) == 1
    assert Task.objects.count() == 2
