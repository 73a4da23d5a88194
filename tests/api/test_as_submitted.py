"""Inputs, results and progress come back unchanged, on both databases."""

import json

import pytest
from django.contrib.auth.base_user import AbstractBaseUser as User

from taskyard.core import lifecycle
from taskyard.core.models import Task
from taskyard.core.states import Status
from taskyard.core.types import NewTask
from tests.api_client import ApiClient
from tests.fake_worker import FakeWorker

# As orjson and pydantic write it: equal numbers and texts have one form.
EXACT = [
    '{"zebra":1,"apple":{"b":1,"aa":2,"a":3},"":0}',
    '{"n":[1e21,-0.0,0.0,1.0,1,1e300,1e-300,5e-324,0.1,123456789012345680.0,-1.5]}',
    '{"n":[9007199254740993,18446744073709551616,-170141183460469231731687303715884105728]}',
    '{"t":["é","\\u2028","\\u001f","\\\\u0041","😀","ключ","\\"","/"],"ключ":true}',
    '{"l":[[],{},[[]],null,false,"",[{"b":null,"a":[]}]]}',
]


@pytest.mark.parametrize("text", EXACT, ids=range(len(EXACT)))
def test_an_input_comes_back_as_it_was_given(
    api: ApiClient, user: User, fake_worker: FakeWorker, text: str
) -> None:
    new = NewTask("sum", "default", json.loads(text))
    task_id = lifecycle.submit(user.pk, new).pk
    shown = json.dumps(json.loads(text), ensure_ascii=False, separators=(",", ":"))
    (claimed,) = fake_worker.claim()
    assert shown_as(claimed.input_data) == shown
    for path in (f"tasks/{task_id}/", "tasks/"):
        assert f'"input_data":{shown},' in shown_as(api.get(path).content)
    fake_worker.finish(claimed, Status.ERROR, error_code="x", error_message="x")
    again = api.post(f"tasks/{task_id}/retry/").content
    assert f'"input_data":{shown},' in shown_as(again)


@pytest.mark.parametrize("text", EXACT, ids=range(len(EXACT)))
def test_a_result_and_a_checkpoint_come_back_as_they_were_given(
    api: ApiClient, fake_worker: FakeWorker, text: str
) -> None:
    task_id = api.create().json()["id"]
    shown = shown_as(text)
    (claimed,) = fake_worker.claim()
    assert lifecycle.keep_checkpoint(claimed, text)
    assert shown_as(json.dumps(Task.objects.get().checkpoint)) == shown
    assert fake_worker.finish(claimed, Status.IN_PROGRESS, checkpoint=text, resumes=True)
    (resumed,) = fake_worker.claim()
    assert shown_as(resumed.checkpoint or "") == shown
    progress = (
        f'{{"current":1e21,"total":2e21,"percent":null,"message":{json.dumps(text)},'
        '"updated_at":"2030-01-01T00:00:00Z"}'
    )
    assert fake_worker.finish(resumed, Status.COMPLETED, result=text, progress=progress)
    answer = shown_as(api.get(f"tasks/{task_id}/").content)
    assert f'"result":{shown},' in answer
    assert f'"progress":{shown_as(progress)},' in answer


def test_no_result_is_null(api: ApiClient, fake_worker: FakeWorker) -> None:
    task_id = api.create().json()["id"]
    fake_worker.end(Status.COMPLETED, result="null")
    assert api.get(f"tasks/{task_id}/").json()["result"] is None
    assert Task.objects.filter(result__isnull=True).exists()


def shown_as(text: str | bytes) -> str:
    """The text with each value in one form; keys keep their order, numbers their kind."""
    return json.dumps(json.loads(text), ensure_ascii=False, separators=(",", ":"))
