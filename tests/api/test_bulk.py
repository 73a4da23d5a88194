"""A bulk accepts all tasks or none, and its errors name the index."""

from typing import Any

import pytest

from taskyard.core.models import Quota, Task
from tests.api_client import ApiClient
from tests.configured import configure

PROBLEM = "application/problem+json"
SUM = {"task_type": "sum", "input_data": {"numbers": [1]}}


@pytest.fixture
def many_allowed(settings: Any) -> None:
    configure(settings, ACTIVE_LIMIT=2000)


def bulk(api: ApiClient, tasks: Any, **headers: str) -> Any:
    return api.post("tasks/bulk/", {"tasks": tasks}, **headers)


@pytest.mark.usefixtures("many_allowed")
def test_a_thousand_are_accepted_in_their_order(api: ApiClient) -> None:
    accepted = bulk(
        api, [{"task_type": "sum", "input_data": {"numbers": [n]}} for n in range(1000)]
    )
    assert accepted.status_code == 201
    assert list(accepted.json()) == ["count", "ids"]
    assert accepted.json()["count"] == 1000
    numbers = dict(Task.objects.values_list("id", "input_data"))
    assert [numbers[each]["numbers"] for each in accepted.json()["ids"]] == [
        [n] for n in range(1000)
    ]
    assert api.get("limits/").json()["active"] == Quota.objects.get().active == 1000


@pytest.mark.usefixtures("many_allowed")
@pytest.mark.parametrize("tasks", [[SUM] * 1001, [], {}, "x", None, 1])
def test_none_and_more_than_a_thousand_are_refused(api: ApiClient, tasks: Any) -> None:
    refused = bulk(api, tasks)
    assert refused.status_code == 400
    assert list(refused.json()) == ["tasks"]
    assert not Task.objects.exists()


def test_each_has_its_own_wishes(api: ApiClient) -> None:
    countdown = {"task_type": "countdown", "input_data": {"seconds": 9}, "priority": "high"}
    ids = bulk(api, [SUM, countdown | {"tags": ["x"], "delay": 60}]).json()["ids"]
    first, second = (api.get(f"tasks/{task_id}/").json() for task_id in ids)
    assert (first["task_type"], first["priority"], first["run_at"]) == ("sum", "normal", None)
    assert (second["task_type"], second["priority"], second["tags"]) == ("countdown", "high", ["x"])
    assert second["run_at"]


def test_what_is_wrong_is_said_by_index_and_none_is_accepted(api: ApiClient) -> None:
    tasks: list[Any] = [dict(SUM) for _ in range(6)]
    tasks[1] = {"task_type": "nope", "input_data": {}}
    tasks[2] = 5
    tasks[3] = {"task_type": "sum", "input_data": {"numbers": ["x", 1]}}
    tasks[4] = SUM | {"delay": 1, "run_at": "2030-01-01T00:00:00Z"}
    tasks[5] = SUM | {"owner": 1}
    refused = bulk(api, tasks, Accept=PROBLEM)
    assert refused.status_code == 400
    assert [(error["pointer"], error["code"]) for error in refused.json()["errors"]] == [
        ("/tasks/1/task_type", "unknown_task_type"),
        ("/tasks/2", "model_type"),
        ("/tasks/3/input_data/numbers/0", "float_type"),
        ("/tasks/4", "run_at_and_delay"),
        ("/tasks/5/owner", "extra_forbidden"),
    ]
    plain = bulk(api, tasks[3:4]).json()
    assert plain == {"tasks": {"0": {"input_data": {"numbers": {"0": ["Ожидается число."]}}}}}
    assert not Task.objects.exists()
    assert Quota.objects.get().active == 0


def test_every_task_takes_a_place(api: ApiClient) -> None:
    assert api.create().status_code == 201
    refused = bulk(api, [SUM] * 5)
    assert refused.status_code == 400
    assert refused.json()["code"] == "active_limit_exceeded"
    assert Task.objects.count() == Quota.objects.get().active == 1
    assert bulk(api, [SUM] * 4).status_code == 201
    assert bulk(api, [SUM]).status_code == 400


def test_a_bulk_may_be_larger_than_one_task_but_none_of_its_tasks(api: ApiClient) -> None:
    numbers = {"task_type": "sum", "input_data": {"numbers": [2**53 - 1] * 10_000}}
    assert bulk(api, [numbers] * 5).status_code == 201
    refused = bulk(api, [SUM | {"tags": ["x" * 300_000]}], Accept=PROBLEM)
    assert refused.json()["errors"][0]["code"] == "task_too_large"
    assert refused.json()["errors"][0]["pointer"] == "/tasks/0"


def test_a_body_over_8_mib_is_413(api: ApiClient) -> None:
    exactly = b'{"tasks":[]}'.ljust(8 * 1024 * 1024)
    assert api.ask("POST", "tasks/bulk/", exactly).status_code == 400
    assert api.ask("POST", "tasks/bulk/", exactly + b" ").status_code == 413


def test_many_flaws_make_a_bounded_answer(api: ApiClient) -> None:
    refused = bulk(api, [{"task_type": "sum", "input_data": {"numbers": ["x"] * 1000}}] * 1000)
    assert refused.status_code == 400
    assert len(refused.content) < 20_000
