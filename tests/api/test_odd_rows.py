"""Every row that the database admits can be shown: by API, page, staff pages and admin."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from django.test import Client

from taskyard.core.models import Task

if TYPE_CHECKING:
    from taskyard.accounts.models import User
    from tests.api_client import ApiClient

pytestmark = pytest.mark.django_db

ERROR = {"status": "error", "ready": False}
ODD: list[dict[str, Any]] = [
    {"priority": 50},
    {"priority": -32768},
    {"priority": 32767},
    {"task_type": "gone"},
    {"task_type": ""},
    {"task_type": "a/b?c#d"},
    {"queue": "no-such-queue"},
    {"queue": ""},
    {"attempt": 99, "max_attempts": 1},
    {"attempt": -1, "max_attempts": 0, "fence": -5},
    {"timeout_seconds": -1.0},
    {"slept": 2**31 - 1, "resumes": True},
    {"tags": {"a": 1}},
    {"tags": "tag"},
    {"tags": [1, None, ["x"]]},
    {"input_data": [1, 2]},
    {"input_data": "text"},
    {"input_data": 7},
    {"progress": "half"},
    {"progress": {}},
    {"progress": [1]},
    {"progress": {"percent": "x"}},
    {"progress": {"current": 1, "total": 2, "percent": 50.0, "message": 5, "updated_at": 1}},
    {**ERROR, "error_code": "a code of mine", "error_message": ""},
    {**ERROR, "error_code": "", "error_message": "?"},
    {**ERROR, "result": [1]},
    {"status": "completed", "ready": False, "result": "text", "progress": {}},
    {"status": "completed", "ready": False, "result": 5},
    {"status": "cancelled", "ready": False, "error_code": "no such code"},
    {"status": "in_progress"},
]
PLACES = (
    *("/api/tasks/", "/api/tasks/{id}/", "/api/tasks/{id}/attempts/", "/api/tasks/{id}/logs/"),
    *("/tasks/", "/tasks/rows/", "/tasks/{id}/", "/tasks/{id}/part/", "/tasks/new/sum/?from={id}"),
    *("/staff/", "/staff/tasks/", "/staff/tasks/{id}/", "/staff/errors/", "/staff/queues/"),
    *("/admin/taskyard/task/", "/admin/taskyard/task/{id}/change/", "/metrics"),
)


@pytest.mark.parametrize("odd", ODD, ids=str)
def test_an_odd_row_is_shown_everywhere(
    new_user: "Callable[..., User]", as_user: "Callable[[User], ApiClient]", odd: dict[str, Any]
) -> None:
    boss = new_user("boss", is_staff=True, is_superuser=True)
    api = as_user(boss)
    task_id = api.create().json()["id"]
    ended = odd.get("status") in ("error", "completed", "cancelled")
    row = Task.objects.get(id=task_id)
    Task.objects.filter(id=task_id).update(
        **odd, **({"finished_at": row.created_at} if ended else {})
    )
    browser = Client(raise_request_exception=False)
    browser.force_login(boss)
    headers = {"Authorization": f"Bearer {api.access}"}
    for place in PLACES:
        found = browser.get(place.format(id=task_id), headers=headers)
        assert found.status_code < 500, (place, found.content[-300:])
    assert api.get(f"tasks/{task_id}/").json()["priority"] in ("low", "normal", "high")
    for action in ("cancel", "retry"):
        assert api.post(f"tasks/{task_id}/{action}/").status_code < 500, action
