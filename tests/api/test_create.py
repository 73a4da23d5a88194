"""A create: its options, and the errors with their places."""

from datetime import timedelta
from typing import Any

import pytest

from taskyard.core.models import Quota, Task
from tests.api_client import SITE, ApiClient


def test_the_answer_is_the_whole_task_and_says_where_it_is(api: ApiClient) -> None:
    created = api.create()
    assert created.status_code == 201
    assert created.headers["Location"] == f"{SITE}tasks/{created.json()['id']}/"
    assert api.get(f"tasks/{created.json()['id']}/").json() == created.json()


def test_both_addresses_submit(api: ApiClient) -> None:
    body = {"task_type": "sum", "input_data": {"numbers": [0.1, 2]}}
    assert api.post("tasks/", body).json()["input_data"] == {"numbers": [0.1, 2]}


def test_options_are_kept(api: ApiClient) -> None:
    created = api.create(
        priority="high", max_attempts=10, timeout=1.5, tags=["b", "a", "b"],
        run_at="2999-01-01T03:00:00+03:00",
    )  # fmt: skip
    assert created.status_code == 201
    task = api.get(f"tasks/{created.json()['id']}/").json()
    assert task["priority"] == "high"
    assert task["max_attempts"] == 10
    assert task["tags"] == ["b", "a"]
    assert task["run_at"] == "2999-01-01T00:00:00Z"
    assert Task.objects.get().timeout_seconds == 1.5


def test_null_options_are_no_options(api: ApiClient) -> None:
    options = dict.fromkeys(["run_at", "delay", "priority", "max_attempts", "timeout"])
    task = api.create(**options).json()
    assert (task["priority"], task["max_attempts"], task["run_at"]) == ("normal", 3, None)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("run_at", value) for value in (
            "2030-01-01T00:00:00", "2030-01-01", "tomorrow", 5, "5", True, "2030-13-01T00:00:00Z",
            "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "9999-01-01T00:00:00Z", [])),
        *(("delay", value) for value in (-1, "5", True, 10**20, [], {})),
        *(("priority", value) for value in ("urgent", 1, "HIGH", "", [])),
        *(("max_attempts", value) for value in (0, 11, -1, 1.5, "3", True, 10**30)),
        *(("timeout", value) for value in (0, -1, "5", True, 10**20)),
        *(("tags", value) for value in ("a", [""], ["x" * 51], ["x"] * 11, [1], {"a": 1}, None)),
        *((name, 1) for name in (
            "id", "user", "owner", "status", "result", "is_staff", "queue", "retry_of", "attempt")),
        ("input_data", [1]), ("input_data", "x"), ("input_data", None),
        ("input_data", {"numbers": [1], "extra": 1}), ("input_data", {}),
    ],
)  # fmt: skip
def test_a_wrong_option_is_refused_at_its_place(api: ApiClient, option: str, value: Any) -> None:
    refused = api.create(**{option: value})
    assert refused.status_code == 400
    assert list(refused.json()) == [option]
    assert not Task.objects.exists()
    assert Quota.objects.get().active == 0


@pytest.mark.parametrize("delay", [1, 0.25, 0.0000014, 3600.5, 316224000])
def test_a_delay_begins_when_the_database_says_that_the_task_was_made(
    api: ApiClient, delay: float
) -> None:
    task = api.create(delay=delay).json()
    row = Task.objects.get(id=task["id"])
    assert row.run_at is not None
    assert row.run_at - row.created_at == timedelta(seconds=delay)
    assert (row.wake_at, row.ready) == (row.run_at, False)
    shown = api.get(f"tasks/{task['id']}/").json()
    assert (shown["run_at"], shown["created_at"]) == (task["run_at"], task["created_at"])
    asked = {"task_type": "sum", "input_data": {"numbers": [1]}}
    ids = api.post("tasks/bulk/", {"tasks": [{**asked, "delay": delay}, asked]}).json()["ids"]
    late, soon = (Task.objects.get(id=each) for each in ids)
    assert late.run_at == late.created_at + timedelta(seconds=delay)
    assert soon.run_at is None


def test_a_moment_and_a_delay_together_are_refused(api: ApiClient) -> None:
    refused = api.create(run_at="2030-01-01T00:00:00Z", delay=1)
    assert refused.status_code == 400
    assert refused.json()["code"] == "run_at_and_delay"


@pytest.mark.parametrize("task_type", [[], {}, None, 5, True, "", "nope", "x" * 10_000, "Sum"])
def test_an_unknown_task_type_is_refused_and_not_echoed(api: ApiClient, task_type: Any) -> None:
    refused = api.create(task_type)
    assert refused.status_code == 400
    assert list(refused.json()) == ["task_type"]
    assert len(refused.content) < 200


def test_an_unknown_task_type_has_its_code(api: ApiClient) -> None:
    refused = api.post(
        "tasks/", {"task_type": "x", "input_data": {}}, Accept="application/problem+json"
    )
    assert refused.json()["errors"] == [
        {"pointer": "/task_type", "code": "unknown_task_type", "detail": "Нет такого типа задачи."}
    ]


def test_every_flaw_of_an_input_is_named_at_its_place(api: ApiClient) -> None:
    refused = api.create(input_data={"numbers": [1, "x", True, 2**60], "more": 1})
    assert refused.json() == {
        "input_data": {
            "numbers": {
                "1": ["Ожидается число."],
                "2": ["Ожидается число."],
                "3": ["Значение должно быть не больше 9007199254740991."],
            },
            "more": ["Неизвестное поле."],
        }
    }


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({}, {"/task_type", "/input_data"}),
        ({"task_type": "nope"}, {"/task_type", "/input_data"}),
        ({"task_type": "nope", "input_data": "x"}, {"/task_type", "/input_data"}),
        ({"task_type": 5, "input_data": [1]}, {"/task_type", "/input_data"}),
        ({"input_data": None}, {"/task_type", "/input_data"}),
        (
            {"task_type": "nope", "input_data": {"numbers": ["x"]}, "priority": "x", "more": 1},
            {"/task_type", "/priority", "/more"},
        ),
        (
            {"task_type": "sum", "input_data": {"numbers": ["x"], "a": 1}, "delay": -1, "tags": 1},
            {"/input_data/numbers/0", "/input_data/a", "/delay", "/tags"},
        ),
        (
            {"task_type": "sum", "input_data": {}, "run_at": "2030-01-01T00:00:00Z", "delay": 1},
            {"", "/input_data/numbers"},
        ),
    ],
)
def test_all_that_is_wrong_is_said_at_once(api: ApiClient, body: Any, pointers: set[str]) -> None:
    refused = api.post("tasks/create/", body, Accept="application/problem+json")
    assert refused.status_code == 400
    assert {error["pointer"] for error in refused.json()["errors"]} == pointers
    bulk = api.post("tasks/bulk/", {"tasks": [body], "more": 1}, Accept="application/problem+json")
    assert {error["pointer"] for error in bulk.json()["errors"]} == {
        "/more",
        *(f"/tasks/0{pointer}" for pointer in pointers),
    }


def test_what_is_wrong_with_the_whole_stands_beside_the_fields(api: ApiClient) -> None:
    refused = api.create(input_data={"numbers": []}, run_at="2030-01-01T00:00:00Z", delay=1)
    assert refused.json() == {
        "non_field_errors": ["Укажите либо run_at, либо delay, но не оба."],
        "input_data": {"numbers": ["Элементов в списке: не меньше 1."]},
    }


def test_of_many_unknown_keys_the_first_are_named(api: ApiClient) -> None:
    many = {f"k{number}": number for number in range(10_000)}
    for body in ({"task_type": "sum", "input_data": many}, {"task_type": "sum", **many}):
        refused = api.post("tasks/create/", body)
        assert refused.status_code == 400
        named = refused.json().get("input_data", refused.json())
        assert list(named) == list(many)[:100]


def test_of_many_wrong_items_the_first_are_named(api: ApiClient) -> None:
    refused = api.create(input_data={"numbers": [""] * 9000})
    assert refused.status_code == 400
    named = refused.json()["input_data"]["numbers"]
    assert list(named) == [str(number) for number in range(100)]
