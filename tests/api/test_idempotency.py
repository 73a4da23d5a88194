"""Idempotency-Key: the same request again makes nothing new."""

from typing import Any

import pytest

from taskyard.core.models import Account, IdempotencyKey, Task
from taskyard.core.states import Status
from tests.api.caller import Caller
from tests.api.hand import Hand

SUM = {"task_type": "sum", "input_data": {"numbers": [1]}}


def submit(api: Caller, body: Any, key: str = "k", path: str = "tasks/create/") -> Any:
    return api.post(path, body, Idempotency_Key=key)


def test_the_same_again_is_the_same_task_as_it_is_now(api: Caller, hand: Hand) -> None:
    first = submit(api, SUM)
    assert first.status_code == 201
    assert "Idempotency-Replayed" not in first.headers
    hand.end(Status.COMPLETED, result='{"result": 1}')
    again = submit(api, SUM)
    assert again.status_code == 201
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.headers["Location"] == first.headers["Location"]
    assert again.json() == api.get(f"tasks/{first.json()['id']}/").json()
    assert again.json()["status"] == "completed"
    assert Task.objects.count() == 1


def test_the_order_of_keys_and_the_address_do_not_matter(api: Caller) -> None:
    first = submit(api, {"task_type": "sum", "input_data": {"numbers": [1]}})
    body = b'{ "input_data": {"numbers": [1]},\n "task_type": "sum" }'
    again = api.ask("POST", "tasks", body, Idempotency_Key="k")
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.json()["id"] == first.json()["id"]


def test_the_key_is_not_for_another_request(api: Caller) -> None:
    submit(api, SUM)
    for body, path in (
        (SUM | {"tags": ["x"]}, "tasks/create/"),
        ({"task_type": "sum", "input_data": {"numbers": [1.0]}}, "tasks/create/"),
        ({"tasks": [SUM]}, "tasks/bulk/"),
    ):
        refused = submit(api, body, path=path)
        assert refused.status_code == 422
        assert refused.json()["code"] == "idempotency_key_reused"
    assert Task.objects.count() == Account.objects.get().active == 1


def test_a_repetition_needs_no_place(api: Caller) -> None:
    first = submit(api, SUM)
    for _ in range(4):
        assert api.create().status_code == 201
    assert api.create().status_code == 400
    again = submit(api, SUM)
    assert (again.status_code, again.json()) == (201, first.json())
    assert api.get("limits/").json()["active"] == 5


def test_a_refused_request_leaves_the_key_free(api: Caller) -> None:
    ids = [api.create().json()["id"] for _ in range(5)]
    assert submit(api, SUM).status_code == 400
    assert submit(api, {"task_type": "nope", "input_data": {}}).status_code == 400
    assert not IdempotencyKey.objects.exists()
    api.post(f"tasks/{ids[0]}/cancel/")
    assert "Idempotency-Replayed" not in submit(api, SUM).headers


def test_a_key_is_its_users_own(api: Caller, other: Caller) -> None:
    assert submit(api, SUM).json()["id"] != submit(other, SUM).json()["id"]


def test_a_task_deleted_since_is_not_made_again(api: Caller) -> None:
    task_id = submit(api, SUM).json()["id"]
    api.post(f"tasks/{task_id}/cancel/")
    assert api.ask("DELETE", f"tasks/{task_id}/").status_code == 204
    refused = submit(api, SUM)
    assert refused.status_code == 409
    assert refused.json()["code"] == "idempotent_task_deleted"
    assert not Task.objects.exists()


def test_a_bulk_again_is_the_same_bulk(api: Caller) -> None:
    body = {"tasks": [SUM] * 5}
    first = submit(api, body, path="tasks/bulk/")
    again = submit(api, body, path="tasks/bulk")
    assert (again.status_code, again.json()) == (201, first.json())
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"
    assert Task.objects.count() == 5


@pytest.mark.parametrize("key", ["", "é", "a\tb", "x" * 256, "ключ", "\x7f", "a\nb"], ids=ascii)
@pytest.mark.parametrize("path", ["tasks/create/", "tasks/bulk/"])
def test_a_key_that_is_none_is_refused(api: Caller, key: str, path: str) -> None:
    refused = submit(api, SUM, key, path)
    assert refused.status_code == 400
    assert refused.json()["code"] == "idempotency_key_invalid"
    assert not Task.objects.exists()


@pytest.mark.parametrize("key", ["x" * 255, '"8e03978e-40d5"', "a b", "~!%00'\\"])
def test_any_printable_ascii_is_a_key(api: Caller, key: str) -> None:
    assert submit(api, SUM, key).status_code == 201
    assert submit(api, SUM, key).headers["Idempotency-Replayed"] == "true"
