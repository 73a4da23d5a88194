"""Files of a shared task: those that it has saved, if the link shows files, and no others."""

from typing import Any

import pytest

from taskyard import InputFile, OutputFile, task_type
from taskyard.catalog.task_type import registry
from taskyard.core import leases, lifecycle, transitions
from taskyard.core.models import Task
from taskyard.core.states import Status
from taskyard.core.types import AttemptResult
from taskyard.files import storage
from taskyard.files.models import StoredFile
from taskyard.files.writing import Saver, Writer, begin
from tests.api.test_share import read, share
from tests.api_client import ApiClient
from tests.files.test_api import (
    CSV,
    api,
    as_user,
    body_of,
    new_user,
    no_throttles,
    nobody,
    upload,
    user,
)

__all__ = ["api", "as_user", "new_user", "no_throttles", "nobody", "user"]
pytestmark = pytest.mark.django_db
STORAGES = ("folder",)


@pytest.fixture(autouse=True)
def copies_file() -> Any:
    """A task type whose result is a file."""

    @task_type("copies-file")
    def copy(file: InputFile) -> OutputFile:
        raise NotImplementedError

    yield copy
    registry._types.pop("copies-file", None)


def run(api: ApiClient) -> tuple[int, int, int]:
    """A task that has saved a file: its id, that of its input and of its output."""
    file_id = int(upload(api).json()["id"])
    body = {"task_type": "copies-file", "input_data": {"file": file_id}}
    task_id = int(api.post("tasks/create/", body).json()["id"])
    worker_id = leases.take(concurrency=1, queues=["default"])
    wanted = {"copies-file": 1}
    (claimed,) = lifecycle.claim("default", wanted, worker_id=worker_id, process=1)[0]
    saver = Saver(claimed.id, claimed.attempt, claimed.fence)
    owner_id = Task.objects.get(pk=task_id).owner_id
    writer = Writer(begin(owner_id, "out.txt", size=None, saver=saver), is_size_known=False)
    writer.write(b"0123456789")
    output = writer.complete()
    ended = AttemptResult(claimed, Status.COMPLETED, result=str(output.pk), saved_files=True)
    transitions.finish([ended])
    return task_id, file_id, output.pk


def test_a_link_with_files_gives_what_the_task_has_saved(api: ApiClient, nobody: ApiClient) -> None:
    task_id, input_id, output_id = run(api)
    link = share(api, task_id, files=True)
    assert link["files"] is True
    token = link["token"]
    shown = read(nobody, token).json()
    assert shown["result"] == output_id
    (file,) = shown["files"]
    assert set(file) == {"id", "name", "content_type", "size", "sha256"}
    assert (file["id"], file["name"], file["size"]) == (output_id, "out.txt", 10)
    path = f"shared/files/{output_id}/content/"
    whole = read(nobody, token, path)
    assert (whole.status_code, body_of(whole)) == (200, b"0123456789")
    assert whole.headers["Content-Disposition"] == 'attachment; filename="out.txt"'
    assert whole.headers["Content-Security-Policy"] == "sandbox; default-src 'none'"
    assert whole.headers["Access-Control-Allow-Origin"] == "*"
    assert whole.headers["Cache-Control"] == "no-store"
    part = read(nobody, token, path, Range="bytes=2-3")
    assert (part.status_code, body_of(part)) == (206, b"23")
    assert read(nobody, token, path, If_None_Match=whole.headers["ETag"]).status_code == 304
    assert read(nobody, token, path, If_Match='"other"').status_code == 412
    # Not its input, not another task's file, not a file that is not there.
    other_id = run(api)[2]
    for file_id in (input_id, other_id, 0, 2**63, 10**18):
        assert read(nobody, token, f"shared/files/{file_id}/content/").status_code == 404
    assert read(nobody, token, f"files/{output_id}/content/").status_code == 401
    assert api.get(path).status_code == 401
    storage.delete(StoredFile.objects.get(pk=output_id).key)
    assert read(nobody, token, path).status_code == 410


def test_a_link_without_files_shows_none(api: ApiClient, nobody: ApiClient) -> None:
    task_id, input_id, output_id = run(api)
    token = share(api, task_id)["token"]
    shown = read(nobody, token).json()
    assert (shown["status"], shown["files"], shown["result"]) == ("completed", [], None)
    for file_id in (input_id, output_id):
        assert read(nobody, token, f"shared/files/{file_id}/content/").status_code == 404
    assert CSV.decode() not in str(shown)
