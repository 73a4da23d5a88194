"""A submit beyond the user's rate or space is refused; all other requests work."""

from typing import Any

import pytest

from tests.api_client import ApiClient
from tests.configured import configure

SUM = {"task_type": "sum", "input_data": {"numbers": [1]}}


def submits(api: ApiClient, task_id: int) -> list[Any]:
    return [
        api.create(),
        api.post("tasks/", SUM),
        api.post("tasks/bulk/", {"tasks": [SUM]}),
        api.post("tasks/create/", SUM, Idempotency_Key="a key"),
        api.post(f"tasks/{task_id}/retry/"),
    ]


@pytest.fixture
def cancelled(api: ApiClient) -> int:
    """A task that can be retried; it used up the rate and the space of the tests."""
    task_id = int(api.create().json()["id"])
    assert api.post(f"tasks/{task_id}/cancel/").status_code == 200
    return task_id


@pytest.mark.django_db(transaction=True)  # inside one transaction, time stands still
def test_too_fast_is_429(api: ApiClient, cancelled: int, settings: Any) -> None:
    configure(settings, SUBMIT_RATE="1/hour")
    assert api.create().status_code == 201
    for answer in submits(api, cancelled):
        assert answer.status_code == 429
        assert answer.json()["code"] == "submit_rate_exceeded"
        assert "1/hour" in answer.json()["detail"]
        assert 1 <= int(answer.headers["Retry-After"]) <= 3600
    assert api.get("tasks/").status_code == 200


def test_no_space_is_507_until_something_is_deleted(
    api: ApiClient, cancelled: int, settings: Any
) -> None:
    configure(settings, BYTES_PER_USER=1500)
    for answer in submits(api, cancelled):
        assert answer.status_code == 507
        assert answer.json()["code"] == "bytes_limit_exceeded"
        assert "Retry-After" not in answer.headers
    assert api.ask("DELETE", f"tasks/{cancelled}/").status_code == 204
    assert api.create().status_code == 201
