"""If-Match and If-None-Match (RFC 9110, 13) on requests that change a task or a profile."""

from typing import Any

import pytest
from django.utils import timezone

from taskyard.core.models import IdempotencyKey, Quota, Task
from taskyard.core.states import Status
from tests.api_client import ApiClient
from tests.fake_worker import FakeWorker

CHANGES = [("POST", "/cancel/", 200), ("POST", "/retry/", 201), ("DELETE", "/", 204)]


@pytest.fixture
def task_id(api: ApiClient, fake_worker: FakeWorker) -> int:
    """A cancelled task, so that every request about it is possible."""
    found: int = api.create().json()["id"]
    api.post(f"tasks/{found}/cancel/")
    return found


def etag(api: ApiClient, path: str, **headers: str) -> str:
    return str(api.get(path, **headers).headers["ETag"])


def states() -> list[Any]:
    return [
        *Task.objects.order_by("id").values("id", "status", "cancel_requested_at", "changed"),
        *Quota.objects.values("active", "cancelled", "error"),
        IdempotencyKey.objects.count(),
    ]


@pytest.mark.parametrize(("method", "path", "status"), CHANGES)
@pytest.mark.parametrize("language", ["ru", "en"])
def test_a_change_is_made_where_nothing_has_changed(
    api: ApiClient, task_id: int, method: str, path: str, status: int, language: str
) -> None:
    read = etag(api, f"tasks/{task_id}/", Accept_Language=language)
    for condition in (read, f'"other", {read}', "*"):
        Task.objects.exclude(id=task_id).delete()
        answer = api.ask(method, f"tasks/{task_id}{path}", If_Match=condition)
        assert answer.status_code == status, answer.content
        if method == "DELETE":
            return


@pytest.mark.parametrize(("method", "path", "status"), CHANGES)
def test_nothing_is_changed_where_something_has(
    api: ApiClient, task_id: int, method: str, path: str, status: int
) -> None:
    read = etag(api, f"tasks/{task_id}/")
    Task.objects.update(started_at=timezone.now())
    now = etag(api, f"tasks/{task_id}/")
    before = states()
    for headers in (
        {"If_Match": read}, {"If_Match": '"other"'}, {"If_Match": f"W/{now}"},
        {"If_None_Match": "*"}, {"If_None_Match": now}, {"If_None_Match": f"W/{now}"},
        {"If_Match": now, "If_None_Match": now}, {"If_Match": read, "Idempotency_Key": "k"},
    ):  # fmt: skip
        refused = api.ask(method, f"tasks/{task_id}{path}", **headers)
        assert refused.status_code == 412, headers
        assert refused.json()["code"] == "precondition_failed"
        assert states() == before
    for headers in ({"If_None_Match": read}, {"If_None_Match": "nonsense"}):
        if method == "POST":
            assert api.ask(method, f"tasks/{task_id}{path}", **headers).status_code == status


@pytest.mark.parametrize(("method", "path", "status"), CHANGES)
@pytest.mark.parametrize("given", ["", "abc", '"abc', "W/", "W/abc", "**", ", ,", "'a'"])
def test_what_is_no_entity_tag_is_refused(
    api: ApiClient, task_id: int, method: str, path: str, status: int, given: str
) -> None:
    before = states()
    refused = api.ask(method, f"tasks/{task_id}{path}", If_Match=given)
    assert refused.status_code == 400
    assert refused.json()["code"] == "if_match_invalid"
    assert states() == before


def test_what_is_refused_without_conditions_is_refused_so_with_them(
    api: ApiClient, other: ApiClient, fake_worker: FakeWorker
) -> None:
    active = api.create().json()["id"]
    for headers in ({"If_Match": '"stale"'}, {"If_Match": etag(api, f"tasks/{active}/")}):
        assert api.ask("DELETE", f"tasks/{active}/", **headers).status_code == 409
        assert api.ask("POST", f"tasks/{active}/retry/", **headers).status_code == 409
        for path in (f"tasks/{active}/", "tasks/999999999/", f"tasks/{10**18}1/"):
            assert other.ask("DELETE", path, **headers).status_code == 404
    fake_worker.end(Status.COMPLETED, result="1")
    assert api.ask("POST", f"tasks/{active}/cancel/", If_Match='"stale"').status_code == 409


def test_a_stale_cancel_of_a_running_task_does_not_stop_it(
    api: ApiClient, fake_worker: FakeWorker
) -> None:
    task_id = api.create().json()["id"]
    read = etag(api, f"tasks/{task_id}/")
    fake_worker.claim()
    assert api.ask("POST", f"tasks/{task_id}/cancel/", If_Match=read).status_code == 412
    assert api.get(f"tasks/{task_id}/").json()["cancel_requested_at"] is None
    read = etag(api, f"tasks/{task_id}/")
    assert api.ask("POST", f"tasks/{task_id}/cancel/", If_Match=read).status_code == 202


def test_a_condition_on_reading(api: ApiClient, task_id: int) -> None:
    read = etag(api, f"tasks/{task_id}/")
    assert not read.startswith("W/")
    assert api.get(f"tasks/{task_id}/", If_Match=read).status_code == 200
    assert api.get(f"tasks/{task_id}/", If_None_Match=f"W/{read}").status_code == 304
    refused = api.get(f"tasks/{task_id}/", If_Match='"other"')
    assert (refused.status_code, refused.json()["code"]) == (412, "precondition_failed")


def test_a_profile_is_not_overwritten_unseen(api: ApiClient) -> None:
    read = etag(api, "me/")
    assert api.get("me/", If_None_Match=read).status_code == 304
    answer = api.patch("me/", {"first_name": "A"}, If_Match=read)
    assert answer.status_code == 200
    refused = api.patch("me/", {"first_name": "B"}, If_Match=read)
    assert (refused.status_code, refused.json()["code"]) == (412, "precondition_failed")
    assert api.get("me/").json()["first_name"] == "A"
    assert api.patch("me/", {"first_name": "B"}, If_Match="B").status_code == 400
    assert api.patch("me/", {"first_name": "B"}, If_Match="*").status_code == 200
