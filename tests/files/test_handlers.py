"""Handlers read and save files: through the executor, with a real storage and a real database."""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import Storage
from django.test import override_settings
from django.utils import translation

from taskyard.core import intake, lifecycle, messages, transitions
from taskyard.core.models import Task
from taskyard.core.states import Status
from taskyard.core.types import AttemptResult, ClaimedTask, UserId
from taskyard.files import records, storage, usage, writing
from taskyard.files.models import StoredFile
from taskyard.files.sweep import sweep
from taskyard.worker import local_copies
from taskyard.worker.executor import execute
from tests import file_types, task_types  # noqa: F401  # registers them
from tests.configured import configure
from tests.fake_worker import take_lease
from tests.files.conftest import using
from tests.files.storages import Stored

pytestmark = pytest.mark.django_db(transaction=True)
Upload = Callable[..., StoredFile]
Submit = Callable[..., ClaimedTask]
FOLDER = "django.core.files.storage.FileSystemStorage"
# The storages that differ most for a handler.
STORAGES = ("folder", "s3")


@pytest.fixture
def worker_id(db: None) -> int:
    return take_lease("default")


@pytest.fixture
def claim(owner_id: UserId, worker_id: int) -> Submit:
    """Submit a task and claim it."""

    def claim(name: str, owner: UserId | None = owner_id, **input_data: Any) -> ClaimedTask:
        new = intake.parse_task({"task_type": name, "input_data": input_data})
        lifecycle.submit(owner, new)
        return claim_again(name)

    def claim_again(name: str) -> ClaimedTask:
        (task,) = lifecycle.claim("default", {name: 1}, worker_id=worker_id, process=1)[0]
        return task

    return claim


@pytest.fixture
def copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> local_copies.LocalCopies:
    """Copies in a folder of the test's own."""
    of_the_test = local_copies.LocalCopies(tmp_path / "taskyard-worker-x" / "files")
    monkeypatch.setattr("taskyard.worker.input_files.copies", lambda: of_the_test)
    return of_the_test


def end(task: ClaimedTask) -> AttemptResult:
    ending = execute(task)
    transitions.finish([ending])
    return ending


def text_of(ending: AttemptResult) -> str:
    assert isinstance(ending.result, bytes)
    return ending.result.decode()


def seen(owner_id: UserId) -> dict[str, bytes]:
    """The files that the owner sees, whole."""
    found = {}
    for file in records.owned_by(owner_id).filter(role="output"):
        with storage.read(file.key) as stream:
            found[file.name] = stream.read()
        assert file.size == len(found[file.name])
        assert file.sha256 == hashlib.sha256(found[file.name]).hexdigest()
    return found


@pytest.mark.parametrize("how", ["bytes", "path", "buffer", "slowly"])
def test_each_kind_of_source_is_saved(claim: Submit, owner_id: UserId, how: str) -> None:
    ending = end(claim("files-save", how=how, mib=2))
    assert ending.error_message == ""
    assert ending.status is Status.COMPLETED
    assert seen(owner_id) == {"out.bin": file_types.CONTENT * 2}
    assert usage.of(owner_id) == 2 * file_types.MIB


def test_a_system_task_saves_files(claim: Submit) -> None:
    assert end(claim("files-save", owner=None, how="bytes")).status is Status.COMPLETED
    assert StoredFile.objects.get().owner_id is None


@pytest.mark.parametrize("by", ["open", "path"])
def test_files_in_are_files_out(
    claim: Submit, owner_id: UserId, upload: Upload, copies: Any, by: str
) -> None:
    files = [upload(b"a,b\n1,2\n", "one.csv"), upload(b"\0" * 3 * file_types.MIB, "two.bin")]
    ending = end(claim("files-copy", files=[file.pk for file in files], by=by))
    assert ending.error_message == ""
    assert seen(owner_id) == {
        "copy of one.csv": b"a,b\n1,2\n",
        "copy of two.bin": b"\0" * 3 * file_types.MIB,
    }
    ids = [file.pk for file in records.owned_by(owner_id).filter(role="output").order_by("pk")]
    assert json.loads(text_of(ending)) == ids


def test_what_is_known_of_files_costs_one_query(
    claim: Submit, upload: Upload, copies: Any, django_assert_num_queries: Any
) -> None:
    first, second = upload(b"text", "a.txt"), upload(b"", "пусто" * 60 + ".csv")
    pages = [{"image": first.pk}, {"image": second.pk}]
    task = claim("files-describe", pages=pages, cover=first.pk)
    with django_assert_num_queries(1):
        ending = execute(task)
    assert ending.error_message == ""
    assert ending.status is Status.COMPLETED
    assert '"is_whole":false' not in text_of(ending)
    assert '"name":"a.txt","size":4,"type":"text/plain"' in text_of(ending)


def test_a_type_without_files_asks_nothing(claim: Submit, django_assert_num_queries: Any) -> None:
    task = claim("sum", numbers=[1])
    with django_assert_num_queries(0):
        execute(task)


@pytest.mark.parametrize("how", ["bytes", "slowly"])
@pytest.mark.parametrize(
    ("limit", "code"),
    [("FILE_LIMIT", "file_too_large"), ("FILES_PER_USER", "files_limit_exceeded")],
)
def test_a_file_beyond_a_limit_ends_the_task(
    claim: Submit, owner_id: UserId, settings: Any, stored: Stored, how: str, limit: str, code: str
) -> None:
    configure(settings, **{limit: 2 * file_types.MIB})
    ending = end(claim("files-save", how=how, mib=3))
    assert (ending.status, ending.error_code) == (Status.ERROR, code)
    assert "out.bin" in ending.error_message
    with translation.override("ru"):
        assert "файл" in messages.of_failure(ending.error_message)
    assert (len(stored.keys()), usage.of(owner_id), StoredFile.objects.count()) == (0, 0, 0)


def test_a_task_saves_so_many_files(
    claim: Submit, owner_id: UserId, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "MOST_FILES", 2)
    ending = end(claim("files-save-three", seed=1))
    assert (ending.status, ending.error_code) == (Status.ERROR, "too_many_files")
    with translation.override("ru"):
        assert "не более 2 файлов" in messages.of_failure(ending.error_message)


def test_a_result_too_large_says_how_to_save_a_file(claim: Submit) -> None:
    ending = execute(claim("returns-much", size=2**20))
    assert ending.error_code == "result_too_large"
    assert "run.save_file(" in ending.error_message
    with translation.override("ru"):
        text = messages.of_failure(ending.error_message)
    assert "run.save_file(" in text
    assert "1048576" in text
    assert "Результат" in text


class OnAFullDevice(Storage):
    """A storage that is no folder, on a device that has no space: the system says so itself."""

    def _save(self, name: str, content: Any) -> str:
        with open("/dev/full", "wb", buffering=0) as file:
            file.write(content.read())
        return name

    def exists(self, name: str) -> bool:
        return False

    def delete(self, name: str) -> None:
        pass


def test_a_full_storage_is_tried_again(claim: Submit, owner_id: UserId) -> None:
    task = claim("files-save", how="slowly")
    with using({"BACKEND": "tests.files.test_handlers.OnAFullDevice"}):
        ending = end(task)
    assert (ending.status, ending.error_code) == (Status.PENDING, "storage_full")
    assert ending.error_message == "The storage of files has no space."
    assert ending.wake_at is not None
    assert (usage.of(owner_id), StoredFile.objects.count()) == (0, 0)


def test_a_storage_away_is_tried_again(claim: Submit, owner_id: UserId, tmp_path: Path) -> None:
    (tmp_path / "no-folder").touch()
    task = claim("files-save", how="bytes")
    options = {"location": str(tmp_path / "no-folder")}
    with using({"BACKEND": FOLDER, "OPTIONS": options}):
        ending = end(task)
    assert (ending.status, ending.error_code) == (Status.PENDING, "storage_unavailable")
    assert ending.error_message == "The storage of files does not answer."
    assert usage.of(owner_id) == 0
    sweep()
    assert not StoredFile.objects.exists()


@pytest.mark.parametrize("by", ["open", "path"])
def test_an_input_whose_bytes_are_gone_is_an_error_of_its_own(
    claim: Submit, upload: Upload, copies: Any, by: str
) -> None:
    file = upload(name="data.csv")
    task = claim("files-copy", files=[file.pk], by=by)
    storage.delete(file.key)
    ending = end(task)
    assert (ending.status, ending.error_code) == (Status.ERROR, "file_missing")
    assert ending.error_message == "The storage has lost the bytes of the file data.csv."


def test_an_input_that_was_cut_is_no_input(
    claim: Submit, upload: Upload, folder: Path, copies: Any
) -> None:
    file = upload()
    task = claim("files-copy", files=[file.pk], by="path")
    (folder / file.key).write_bytes(b"a,b")
    assert end(task).error_code == "file_missing"


def test_an_input_whose_record_is_gone_is_an_error_of_its_own(
    claim: Submit, upload: Upload, copies: Any
) -> None:
    file = upload()
    task = claim("files-copy", files=[file.pk])
    StoredFile.objects.filter(pk=file.pk).delete()
    assert end(task).error_code == "file_missing"


def test_a_text_stream_is_refused_clearly(claim: Submit, owner_id: UserId, stored: Stored) -> None:
    ending = end(claim("files-save", how="text"))
    assert "open the file in binary mode" in ending.error_message
    assert (len(stored.keys()), StoredFile.objects.count()) == (0, 0)


def test_without_the_app_files_are_refused_in_one_line(claim: Submit, settings: Any) -> None:
    task = claim("files-save", how="bytes")
    apps = [app for app in settings.INSTALLED_APPS if app != "taskyard.files"]
    with override_settings(INSTALLED_APPS=apps):
        ending = execute(task)
    assert "taskyard.files in INSTALLED_APPS" in ending.error_message


def test_what_a_failed_task_has_saved_is_seen(claim: Submit, owner_id: UserId) -> None:
    assert end(claim("files-save", how="fail")).error_code == "no"
    assert seen(owner_id) == {"why.txt": b"why"}


def test_a_retry_replaces_its_own_files(
    claim: Submit, owner_id: UserId, worker_id: int, stored: Stored
) -> None:
    task = claim("files-save", how="retry")
    assert end(task).status is Status.PENDING
    for _ in range(2):
        Task.objects.update(ready=True, wake_at=None)
        (task,) = lifecycle.claim("default", {"files-save": 1}, worker_id=worker_id, process=1)[0]
        last = end(task)
    assert last.status is Status.COMPLETED
    assert seen(owner_id) == {"out.bin": b"attempt 3", "attempt-3.txt": b"x"}
    sweep()
    assert len(stored.keys()) == 2
    assert usage.of(owner_id) == 10


def test_a_save_of_an_attempt_that_is_over_is_cancelled(
    claim: Submit, owner_id: UserId, worker_id: int, stored: Stored
) -> None:
    task = claim("files-save", how="bytes")
    lifecycle.rescue(Task.objects.all())
    lifecycle.claim("default", {"files-save": 1}, worker_id=worker_id, process=1)
    assert execute(task).status is Status.CANCELLED
    assert (len(stored.keys()), StoredFile.objects.count()) == (0, 0)


def copy_of(claim: Submit, file: StoredFile, how: str = "nothing") -> str:
    ending = end(claim("files-tamper", file=file.pk, how=how))
    assert ending.error_message == ""
    return text_of(ending)


@pytest.mark.parametrize("how", ["write", "append", "delete", "beside", "rename"])
def test_a_copy_that_a_handler_has_changed_is_not_used_again(
    claim: Submit, upload: Upload, copies: Any, folder: Path, how: str
) -> None:
    file = upload(b"as it was")
    for act in (how, "nothing"):
        assert "as it was" in copy_of(claim, file, act)


def test_an_unchanged_copy_is_used_again(
    claim: Submit, upload: Upload, copies: local_copies.LocalCopies, tmp_path: Path
) -> None:
    file = upload(b"as it was")
    for _ in range(3):
        copy_of(claim, file)
        storage.delete(file.key)  # the storage is not asked again
    kept = [path for path in (tmp_path / "taskyard-worker-x").rglob("*") if path.is_file()]
    assert sorted(path.name for path in kept) == ["data.csv", "lock"]


@pytest.mark.parametrize("how", ["clean", "clean kept ones"])
def test_copies_are_made_again_after_the_temporary_folder_was_cleaned(
    claim: Submit, upload: Upload, copies: Any, how: str
) -> None:
    file = upload(b"as it was")
    for act in (how, how, "nothing"):
        assert "as it was" in copy_of(claim, file, act)
    storage.delete(file.key)
    assert "as it was" in copy_of(claim, file)  # it is kept again


def test_a_result_does_not_depend_on_what_becomes_of_the_copies(
    claim: Submit, upload: Upload, copies: Any, caplog: pytest.LogCaptureFixture
) -> None:
    file = upload(b"as it was")
    ending = end(claim("files-tamper", file=file.pk, how="spoil"))
    assert (ending.status, text_of(ending)) == (Status.COMPLETED, '"as it was"')
    assert "local copies not kept" in caplog.messages
    assert "as it was" in copy_of(claim, file)


def test_the_copies_used_last_are_kept(
    claim: Submit, upload: Upload, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies = local_copies.LocalCopies(tmp_path / "w" / "files", most_bytes=25)
    monkeypatch.setattr("taskyard.worker.input_files.copies", lambda: copies)
    files = [upload(b"x" * 10, f"{number}.txt") for number in range(4)]
    for number in (0, 1, 2, 1, 3):
        copy_of(claim, files[number])
    copy_of(claim, upload(b"x" * 26, "large.txt"))
    kept = {path.name for path in (tmp_path / "w" / "files" / "kept").rglob("*.txt")}
    assert kept == {"1.txt", "3.txt"}
    assert not list((tmp_path / "w" / "files" / "used").rglob("*.txt"))


def test_what_dead_processes_and_workers_have_left_is_removed(tmp_path: Path) -> None:
    dead = tmp_path / "taskyard-worker-dead" / "files"
    alive = local_copies.LocalCopies(tmp_path / "taskyard-worker-alive" / "files")
    mine = tmp_path / "taskyard-worker-mine" / "files"
    in_use = alive.new_folder()
    for left in (dead / "used" / "1-1", mine / "used" / f"{os.getpid()}-1"):
        (left / "7").mkdir(parents=True)
    (dead / "lock").touch()
    folder = local_copies.LocalCopies(mine).new_folder()
    assert (dead.exists(), in_use.exists()) == (False, True)
    assert [path.name for path in (mine / "used").iterdir()] == [folder.parent.name]
