"""One task: its visibility, its ETag, its texts."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.base_user import AbstractBaseUser as User
from django.utils import timezone

from taskyard.core import types
from taskyard.core.models import Quota, Task
from tests.api_client import IN_HOST, NOT_FOUND, ApiClient

# Normally the lifecycle is the only writer; these tests write the states that they read.
DONE = {"ready": False, "wake_at": None, "worker": None, "finished_at": "2024-12-16T12:00:05Z"}


def test_another_users_task_and_none_are_answered_with_the_same_bytes(
    api: ApiClient, new_user: Callable[..., User], as_user: Callable[[User], ApiClient]
) -> None:
    theirs = as_user(new_user("other")).create().json()["id"]
    answers = [
        api.get(f"tasks/{task_id}{slash}")
        for task_id in (theirs, 10**9, 0, 2**63 - 1, 2**63, 10**20, -1, "1%00", "1%0A", "x", "1.0")
        for slash in ("", "/")
    ]
    assert {answer.status_code for answer in answers} == {404}
    assert {answer.content for answer in answers} == {
        f'{{"detail":"{NOT_FOUND}","code":"not_found"}}'.encode()
    }


def test_a_task_asked_for_again_is_not_sent_again(api: ApiClient) -> None:
    task_id = api.create().json()["id"]
    first = api.get(f"tasks/{task_id}/")
    again = api.get(f"tasks/{task_id}/", If_None_Match=first.headers["ETag"])
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["ETag"] == first.headers["ETag"]
    other_language = api.get(
        f"tasks/{task_id}/", If_None_Match=first.headers["ETag"], Accept_Language="en"
    )
    assert other_language.status_code == 200
    Task.objects.update(started_at=timezone.now())
    assert api.get(f"tasks/{task_id}/", If_None_Match=first.headers["ETag"]).status_code == 200


@pytest.mark.parametrize(
    ("status", "russian", "english"),
    [
        ("pending", "Запланировано", "Scheduled"),
        ("in_progress", "Выполняется", "Running"),
        ("completed", "Выполнено", "Completed"),
        ("error", "Ошибка", "Error"),
        ("cancelled", "Отменено", "Cancelled"),
    ],
)
def test_labels_follow_the_language(
    api: ApiClient, status: str, russian: str, english: str
) -> None:
    task_id = api.create().json()["id"]
    if status in ("completed", "error", "cancelled"):
        Task.objects.update(status=status, **DONE)
    else:
        Task.objects.update(status=status)
    assert api.get(f"tasks/{task_id}").json()["status_label"] == russian
    assert api.get(f"tasks/{task_id}", Accept_Language="ru").json()["status_label"] == russian
    assert api.get(f"tasks/{task_id}", Accept_Language="de").json()["status_label"] == (
        english if IN_HOST else russian
    )
    answer = api.get(f"tasks/{task_id}", Accept_Language="en-GB,en;q=0.9,ru;q=0.1")
    assert answer.json()["status_label"] == english
    assert answer.headers["Content-Language"].startswith("en")


@pytest.mark.parametrize(
    ("reported", "status", "shown"),
    [
        ({"current": 1, "total": 4, "percent": 25.0}, "completed", (4, 100.0)),
        ({"current": 1, "total": 4, "percent": 25.0}, "error", (1, 25.0)),
        ({"current": 7, "total": None, "percent": None}, "completed", (7, None)),
    ],
)
def test_a_completed_task_shows_the_whole_of_its_progress(
    api: ApiClient, reported: dict[str, Any], status: str, shown: tuple[int, float | None]
) -> None:
    task_id = api.create().json()["id"]
    progress = {**reported, "message": "rows", "updated_at": "2024-12-16T12:00:04Z"}
    Task.objects.update(status=status, progress=progress, **DONE)
    told = api.get(f"tasks/{task_id}/").json()["progress"]
    assert (told["current"], told["percent"], told["message"]) == (*shown, "rows")


def test_a_failed_task_says_why_in_both_places(api: ApiClient) -> None:
    task_id = api.create().json()["id"]
    failure = {"error_code": "bad_luck", "error_message": "It rained.", "attempt": 2}
    Task.objects.update(status="error", **failure, **DONE)
    task = api.get(f"tasks/{task_id}/").json()
    assert task["result"] == {"error": "It rained."}
    assert task["error"] == {"code": "bad_luck", "message": "It rained.", "attempt": 2}
    assert task["finished_at"] == "2024-12-16T12:00:05Z"


def test_what_taskyard_says_of_a_failure_is_said_in_the_readers_language(api: ApiClient) -> None:
    task_id = api.create().json()["id"]
    Task.objects.update(status="error", error_message=types.MESSAGES["worker_lost"], **DONE)
    assert "Воркер" in api.get(f"tasks/{task_id}/").json()["error"]["message"]
    english = api.get(f"tasks/{task_id}/", Accept_Language="en").json()
    assert english["result"] == {"error": types.MESSAGES["worker_lost"]}


def test_a_huge_result_is_shown_exactly(api: ApiClient) -> None:
    task_id = api.create().json()["id"]
    Task.objects.update(status="completed", result={"result": 10**30}, **DONE)
    assert api.get(f"tasks/{task_id}/").json()["result"] == {"result": 10**30}


def test_limits_name_the_tasks_that_hold_places(api: ApiClient) -> None:
    empty = api.get("limits/").json()
    assert empty == {"active_limit": 5, "active": 0, "available": 5, "tasks": []}
    ids = [api.create().json()["id"] for _ in range(2)]
    full = api.get("limits/").json()
    assert full == {"active_limit": 5, "active": 2, "available": 3, "tasks": ids}


def test_limits_count_all_and_name_a_thousand(api: ApiClient) -> None:
    Quota.objects.update(active_limit=2000)
    many = {"tasks": [{"task_type": "sum", "input_data": {"numbers": [1]}}] * 600}
    ids = [task_id for _ in range(2) for task_id in api.post("tasks/bulk/", many).json()["ids"]]
    found = api.get("limits/").json()
    assert found == {"active_limit": 2000, "active": 1200, "available": 800, "tasks": ids[:1000]}
