"""`fields=`, and the fields that a list leaves out."""

import json
from typing import Any

import pytest
from django.contrib.auth.base_user import AbstractBaseUser as User

from taskyard.api import selection
from taskyard.core import lifecycle
from taskyard.core.models import Task
from taskyard.core.states import Status
from taskyard.core.types import NewTask
from tests.api_client import SITE, ApiClient
from tests.fake_worker import FakeWorker

LONG = "x" * selection.SHORT


@pytest.fixture
def long_ids(user: User, fake_worker: FakeWorker) -> list[int]:
    """A task with a long input, one with a long result, one with neither, one that failed."""
    ids = []
    for given, result in ((LONG, "1"), ("a", json.dumps(LONG)), ("a", '"b"')):
        new = NewTask("sum", "default", {"text": given})
        ids.append(lifecycle.submit(user.pk, new).pk)
        fake_worker.end(Status.COMPLETED, result=result)
    ids.append(lifecycle.submit(user.pk, NewTask("sum", "default", {"text": LONG})).pk)
    fake_worker.end(Status.ERROR, error_code="x", error_message="wrong")
    return ids


def results(api: ApiClient, path: str) -> list[dict[str, Any]]:
    answer = api.get(path)
    assert answer.status_code == 200, answer.content
    found: list[dict[str, Any]] = answer.json()["results"]
    return found


@pytest.mark.parametrize("query", ["", "?after=0", "?ordering=-id&status=completed,error"])
def test_a_list_leaves_out_what_is_long_and_says_so(
    api: ApiClient, long_ids: list[int], query: str
) -> None:
    shown = {task["id"]: task for task in results(api, f"tasks/{query}")}
    whole = {task_id: api.get(f"tasks/{task_id}/").json() for task_id in long_ids}
    first, second, third, failed = long_ids
    assert shown[third] == whole[third]
    assert shown[first] == {**whole[first], "input_data": {}, "omitted": ["input_data"]}
    assert shown[second] == {**whole[second], "result": None, "omitted": ["result"]}
    assert shown[failed] == {**whole[failed], "input_data": {}, "omitted": ["input_data"]}
    assert not any("omitted" in task for task in whole.values())


def test_a_list_of_large_results_is_small(
    api: ApiClient, user: User, fake_worker: FakeWorker
) -> None:
    Task.objects.all().delete()
    lifecycle.open_quota(user.pk)
    for _ in range(20):
        lifecycle.submit(user.pk, NewTask("sum", "default", {"text": "a"}))
        fake_worker.end(Status.COMPLETED, result=json.dumps("x" * 500_000))
    assert len(api.get("tasks/?page_size=100").content) < 20_000


def test_fields_name_what_is_wanted(api: ApiClient, long_ids: list[int]) -> None:
    for path in ("tasks/?fields=id,status", "tasks/?fields=status&fields=id&fields=,"):
        assert [list(task) for task in results(api, path)] == [["id", "status"]] * 4
    wanted = results(api, "tasks/?fields=result,input_data,error&page_size=2")
    assert [len(task["input_data"]["text"]) for task in wanted] == [len(LONG), 1]
    assert [task["result"] for task in wanted] == [1, LONG]
    assert [task["error"] for task in wanted] == [None, None]
    failed = results(api, "tasks/?fields=result&status=error")
    assert failed == [{"result": {"error": "wrong"}}]
    assert results(api, "tasks/?fields=") == results(api, "tasks/")
    every = results(api, f"tasks/?fields={','.join(selection.NAMES)}")
    assert every == [api.get(f"tasks/{task_id}/").json() for task_id in long_ids]
    assert [*every[0], "subject"] == list(selection.NAMES)  # only service accounts see that one


def test_neighbouring_pages_keep_the_fields(api: ApiClient, long_ids: list[int]) -> None:
    page = api.get("tasks/?fields=id&page_size=2").json()
    assert "fields=id" in page["next"]
    assert results(api, page["next"].removeprefix(SITE)) == [
        {"id": task_id} for task_id in long_ids[2:]
    ]


def test_one_task_has_fields_too(api: ApiClient, long_ids: list[int]) -> None:
    path = f"tasks/{long_ids[0]}/"
    part = api.get(f"{path}?fields=status,result")
    assert part.json() == {"status": "completed", "result": 1}
    assert part.headers["ETag"] == api.get(path).headers["ETag"]
    assert api.get(f"{path}?fields=id", If_None_Match=part.headers["ETag"]).status_code == 304
    assert len(api.get(f"{path}?fields=input_data").json()["input_data"]["text"]) == len(LONG)


@pytest.mark.parametrize(
    "value", ["nope", "id,nope", "owner", "checkpoint", "ID", "%00", "id;status"]
)
def test_an_unknown_field_is_refused_everywhere(
    api: ApiClient, long_ids: list[int], value: str
) -> None:
    for path in (
        "tasks/",
        f"tasks/{long_ids[0]}/",
        "tasks/events/",
        f"tasks/{long_ids[0]}/events/",
    ):
        refused = api.get(f"{path}?fields={value}")
        assert refused.status_code == 400, path
        assert list(refused.json()) == ["fields"]
