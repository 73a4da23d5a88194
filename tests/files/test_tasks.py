"""Tasks that use files, over the API: what they list, and what is refused."""

from typing import Annotated, Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from taskyard import Accepts, InputFile, task_type
from taskyard.catalog.task_type import registry
from taskyard.core.models import Task
from taskyard.core.states import Status
from tests.api_client import ApiClient
from tests.files.test_api import api, as_user, new_user, no_throttles, other, upload, user

__all__ = ["api", "as_user", "new_user", "no_throttles", "other", "user"]
pytestmark = pytest.mark.django_db
STORAGES = ("folder",)


@pytest.fixture(autouse=True)
def reads_file() -> Any:
    """A task type that takes a text file of at most 100 bytes."""

    @task_type("reads-file")
    def read(file: Annotated[InputFile, Accepts("text/*", max_bytes=100)]) -> int:
        return file.size

    yield read
    registry._types.pop("reads-file", None)


def create(api: ApiClient, file_id: Any, **headers: str) -> Any:
    body = {"task_type": "reads-file", "input_data": {"file": file_id}}
    return api.post("tasks/create/", body, **headers)


def test_a_task_lists_its_files(api: ApiClient) -> None:
    file = upload(api).json()
    task = create(api, file["id"]).json()
    (listed,) = task["files"]
    assert listed == {**file, "expires_at": None}
    assert listed["role"] == "input"
    assert api.get(f"tasks/{task['id']}/").json()["files"] == [listed]
    assert api.get("tasks/").json()["results"][0]["files"] == [listed]
    assert api.get(f"tasks/{task['id']}/?fields=id,files").json()["files"] == [listed]
    assert api.get("tasks/?fields=id").json()["results"] == [{"id": task["id"]}]
    assert api.get(f"files/?task={task['id']}").json()["results"] == [listed]
    assert api.create().json()["files"] == []


def test_a_page_of_tasks_looks_their_files_up_at_once(api: ApiClient) -> None:
    def queries() -> int:
        with CaptureQueriesContext(
            connection,
        ) as captured:
            assert api.get("tasks/").status_code == 200
        return len(captured)

    api.create()
    without = queries()
    create(api, upload(api).json()["id"])
    with_one = queries()
    create(api, upload(api).json()["id"])
    assert queries() == with_one == without + 2


@pytest.mark.parametrize("case", ["missing", "another's", "type", "size", "no id"])
def test_a_file_that_cannot_be_used(api: ApiClient, other: ApiClient, case: str) -> None:
    made = {
        "missing": lambda: (12345, "file_not_found"),
        "another's": lambda: (upload(other).json()["id"], "file_not_found"),
        "type": lambda: (upload(api, b"\x89PNG\r\n\x1a\n\0").json()["id"], "file_type_refused"),
        "size": lambda: (upload(api, b"x" * 101).json()["id"], "file_too_large"),
        "no id": lambda: ("x", "int_type"),
    }
    file_id, code = made[case]()
    answer = create(api, file_id, Accept="application/problem+json")
    assert answer.status_code == 400
    (error,) = answer.json()["errors"]
    assert (error["pointer"], error["code"]) == ("/input_data/file", code)
    assert not Task.objects.exists()


def test_a_file_in_use_is_not_deleted(api: ApiClient) -> None:
    file_id = upload(api).json()["id"]
    task_id = create(api, file_id).json()["id"]
    refused = api.ask("DELETE", f"files/{file_id}/")
    assert (refused.status_code, refused.json()["code"]) == (409, "file_in_use")
    api.post(f"tasks/{task_id}/cancel/")
    assert api.ask("DELETE", f"files/{file_id}/").status_code == 204
    assert api.get(f"tasks/{task_id}/").json()["files"] == []


def test_a_retry_pins_the_file_or_says_that_it_is_gone(api: ApiClient) -> None:
    file_id = upload(api).json()["id"]
    task_id = create(api, file_id).json()["id"]
    api.post(f"tasks/{task_id}/cancel/")
    again = api.post(f"tasks/{task_id}/retry/")
    assert again.status_code == 201
    assert [file["id"] for file in again.json()["files"]] == [file_id]
    assert api.ask("DELETE", f"files/{file_id}/").status_code == 409
    api.post(f"tasks/{again.json()['id']}/cancel/")
    assert api.ask("DELETE", f"files/{file_id}/").status_code == 204
    gone = api.post(f"tasks/{task_id}/retry/", Accept="application/problem+json")
    assert gone.status_code == 400
    (error,) = gone.json()["errors"]
    assert (error["pointer"], error["code"]) == ("/input_data/file", "file_not_found")
    assert Task.objects.count() == 2
    assert not Task.objects.exclude(status=Status.CANCELLED).exists()


def test_an_idempotency_key_with_files(api: ApiClient) -> None:
    refused = create(api, 12345, Idempotency_Key="k")
    assert refused.status_code == 400
    file_id = upload(api).json()["id"]
    first = create(api, file_id, Idempotency_Key="k")
    assert first.status_code == 201
    second = create(api, file_id, Idempotency_Key="k")
    assert second.headers["Idempotency-Replayed"] == "true"
    assert second.json() == first.json()
    assert create(api, upload(api).json()["id"], Idempotency_Key="k").status_code == 422
    assert Task.objects.count() == 1


def test_a_bulk_names_the_place_of_a_missing_file(api: ApiClient) -> None:
    good = {"task_type": "reads-file", "input_data": {"file": upload(api).json()["id"]}}
    bad = {"task_type": "reads-file", "input_data": {"file": 12345}}
    refused = api.post("tasks/bulk/", {"tasks": [good, bad]}, Accept="application/problem+json")
    assert refused.status_code == 400
    assert refused.json()["errors"][0]["pointer"] == "/tasks/1/input_data/file"
    assert not Task.objects.exists()
    assert api.post("tasks/bulk/", {"tasks": [good, good]}).status_code == 201
