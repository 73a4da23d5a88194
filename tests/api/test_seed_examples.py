"""The requests and responses of the user's own description, seed/README.ru.md."""

import re
from collections.abc import Callable

from taskyard.accounts.models import User
from taskyard.core.models import Quota
from tests.api_client import ApiClient

ACCOUNT = {"username": "newuser", "password": "password123"}


def test_a_person_registers_gets_tokens_and_submits_both_examples(nobody: ApiClient) -> None:
    registered = nobody.post("register/", ACCOUNT)
    assert registered.status_code == 201
    assert registered.json() == {"id": User.objects.get().pk, "username": "newuser"}

    tokens = nobody.post("token/", ACCOUNT)
    assert tokens.status_code == 200
    assert list(tokens.json()) == ["access", "refresh"]

    refreshed = nobody.post("token/refresh/", {"refresh": tokens.json()["refresh"]})
    assert refreshed.status_code == 200
    assert list(refreshed.json()) == ["access"]

    person = ApiClient(nobody.client, refreshed.json()["access"])
    first = person.post("tasks/create/", {"task_type": "sum", "input_data": {"numbers": [1, 2, 3]}})
    second = person.post("tasks/create/", {"task_type": "countdown", "input_data": {"seconds": 5}})
    assert (first.status_code, second.status_code) == (201, 201)
    listed = person.get("tasks/")
    assert listed.status_code == 200
    assert list(listed.json()) == ["count", "next", "previous", "results"]
    assert listed.json()["results"] == [first.json(), second.json()]
    assert (listed.json()["count"], listed.json()["next"]) == (2, None)


def test_a_task_has_the_fields_of_the_contract_in_its_order(api: ApiClient) -> None:
    task = api.create().json()
    assert list(task) == [
        "id", "task_type", "input_data", "status", "result", "created_at", "status_label",
        "priority", "queue", "progress", "attempt", "max_attempts", "error", "run_at",
        "started_at", "finished_at", "cancel_requested_at", "retry_of", "tags", "files",
    ]  # fmt: skip
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?Z", task.pop("created_at"))
    assert task.pop("id") > 0
    assert task == {
        "task_type": "sum", "input_data": {"numbers": [1, 2, 3]}, "status": "pending",
        "result": None, "status_label": "Запланировано", "priority": "normal",
        "queue": "default", "progress": None, "attempt": 0, "max_attempts": 3, "error": None,
        "run_at": None, "started_at": None, "finished_at": None, "cancel_requested_at": None,
        "retry_of": None, "tags": [], "files": [],
    }  # fmt: skip


def test_a_sixth_active_task_is_refused_in_the_seeds_words(api: ApiClient) -> None:
    for _ in range(5):
        assert api.create().status_code == 201
    refused = api.create()
    assert refused.status_code == 400
    assert refused.json() == {
        "detail": "Вы не можете создать более 5 активных задач.",
        "code": "active_limit_exceeded",
    }


def test_the_refusal_names_the_users_own_limit(
    new_user: Callable[..., User], as_user: Callable[[User], ApiClient]
) -> None:
    user = new_user()
    Quota.objects.filter(user=user).update(active_limit=1)
    api = as_user(user)
    assert api.create().status_code == 201
    detail = api.create().json()["detail"]
    assert detail == "Вы не можете создать более 1 активных задач."
    english = api.post(
        "tasks/create/",
        {"task_type": "sum", "input_data": {"numbers": [1]}},
        Accept_Language="en",
    )
    assert english.json()["detail"] == "You cannot create more than 1 active tasks."
