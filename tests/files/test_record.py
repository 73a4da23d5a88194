"""The record of files: the quota is exact, inputs are pinned, and nothing is left behind."""

import hashlib
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar

import pytest
from django.db import connection
from django.db.models import Sum
from django.db.models.functions import Now
from pydantic import BaseModel, RootModel

from taskyard import task_type
from taskyard.catalog.files import MOST_FILES, Accepts, InputFile
from taskyard.catalog.schema import InvalidInput
from taskyard.core import deletion, intake, lifecycle, transitions
from taskyard.core.errors import Rejected
from taskyard.core.models import Task
from taskyard.core.states import Status
from taskyard.core.types import AttemptResult, UserId
from taskyard.files import records, removal, storage, usage
from taskyard.files.errors import (
    FileBytesExceeded,
    FileCountExceeded,
    FileInUse,
    FileTooLarge,
    StorageUnavailable,
    UploadActive,
    UploadGone,
    UploadIncomplete,
    WrongOffset,
)
from taskyard.files.models import FileUse, State, StoredFile
from taskyard.files.sweep import sweep
from taskyard.files.writing import Saver, Writer, begin, resume
from tests.configured import configure
from tests.fake_worker import take_lease
from tests.files.storages import Stored

pytestmark = pytest.mark.django_db
Upload = Callable[..., StoredFile]
Inner = TypeVar("Inner")


@task_type("files-test-read")
def read(table: Annotated[InputFile, Accepts("text/*", max_bytes=100)]) -> int:
    with table.open() as stream:
        return len(stream.read())


@task_type("files-test-many")
def many(tables: list[InputFile]) -> int:
    return len(tables)


class Tables(RootModel[list[InputFile]]):
    pass


class Box(BaseModel, Generic[Inner]):
    inner: Inner


@task_type("files-test-root-model")
def root_model(tables: Tables) -> int:
    return len(tables.root)


@task_type("files-test-generic-model")
def generic_model(tables: Box[list[InputFile]]) -> int:
    return len(tables.inner)


def submit(owner_id: UserId, file_id: Any, name: str = "files-test-read") -> Task:
    data = {"table": file_id} if name == "files-test-read" else {"tables": file_id}
    return lifecycle.submit(owner_id, intake.parse_task({"task_type": name, "input_data": data}))


def counted(owner_id: UserId) -> None:
    """The counter is the sum of what the rows say."""
    rows = StoredFile.objects.filter(owner_id=owner_id).exclude(state=State.DELETING)
    assert usage.of(owner_id) == (rows.aggregate(all=Sum("size"))["all"] or 0)


def test_a_file_is_visible_only_when_it_is_whole(owner_id: UserId, stored: Stored) -> None:
    writer = Writer(begin(owner_id, "a.csv", size=8), is_size_known=True)
    writer.write(b"a,b\n")
    assert not records.owned_by(owner_id).exists()
    writer.write(b"1,2\n")
    file = writer.complete()
    assert list(records.owned_by(owner_id)) == [file]
    assert (file.size, file.content_type) == (8, "text/csv")
    assert file.sha256 == hashlib.sha256(b"a,b\n1,2\n").hexdigest()
    assert stored.data(file.key) == b"a,b\n1,2\n"
    counted(owner_id)


def test_a_size_that_is_not_kept_is_refused(owner_id: UserId) -> None:
    short = Writer(begin(owner_id, "a", size=8), is_size_known=True)
    short.write(b"1234")
    with pytest.raises(UploadIncomplete):
        short.complete()
    long = Writer(begin(owner_id, "a", size=8), is_size_known=True)
    with pytest.raises(FileTooLarge):
        long.write(b"123456789")
    for writer in (short, long):
        writer.discard()
    assert usage.of(owner_id) == 0


def test_the_bytes_of_a_user_are_limited(settings: Any, owner_id: UserId, upload: Upload) -> None:
    configure(settings, FILES_PER_USER=100, FILE_LIMIT=80)
    first = upload(b"x" * 60)
    with pytest.raises(FileBytesExceeded):
        begin(owner_id, "b", size=41)
    with pytest.raises(FileTooLarge):
        begin(owner_id, "b", size=81)
    unknown = Writer(begin(owner_id, "b", size=None), is_size_known=False)
    with pytest.raises(FileBytesExceeded):
        unknown.write(b"x" * 41)
    unknown.discard()
    upload(b"x" * 40)
    counted(owner_id)
    removal.delete(first)
    assert usage.of(owner_id) == 40


def test_the_number_of_a_users_files_is_limited(
    settings: Any, owner_id: UserId, other_id: UserId, upload: Upload
) -> None:
    """Also files without bytes, which take none of the bytes."""
    configure(settings, FILE_COUNT_PER_USER=2)
    first, _second = upload(b""), upload(b"")
    with pytest.raises(FileCountExceeded):
        begin(owner_id, "b", size=0)
    upload(b"", owner=other_id)
    removal.delete(first)
    upload(b"")
    with pytest.raises(FileCountExceeded):
        begin(owner_id, "b", size=None)


def test_an_input_names_so_many_files(owner_id: UserId) -> None:
    ids = list(range(1, MOST_FILES + 2))
    body = {"task_type": "files-test-many", "input_data": {"tables": ids}}
    with pytest.raises(InvalidInput) as refused:
        intake.parse_task(body)
    (error,) = refused.value.field_errors
    assert (error.path, error.code) == (("input_data",), "too_many_files")


def test_an_input_is_pinned_while_a_task_that_uses_it_is_active(
    owner_id: UserId, upload: Upload, stored: Stored
) -> None:
    file = upload()
    task = submit(owner_id, file.pk)
    assert task.has_files
    file.refresh_from_db()
    assert file.expires_at is None
    with pytest.raises(FileInUse):
        removal.delete(file)
    lifecycle.cancel(task.id, by_id=None)
    assert [entry.role for entry in records.of_tasks([task])[task.id]] == ["input"]
    removal.delete(file)
    assert len(stored.keys()) == 0
    assert records.of_tasks([task]) == {}
    counted(owner_id)


@pytest.mark.parametrize("case", ["another's", "missing", "type", "size"])
def test_a_file_that_the_task_cannot_use_is_refused_with_its_path(
    case: str, owner_id: UserId, other_id: UserId, upload: Upload
) -> None:
    cases: dict[str, Callable[[], tuple[int, str]]] = {
        "another's": lambda: (upload(owner=other_id).pk, "file_not_found"),
        "missing": lambda: (2**62, "file_not_found"),
        "type": lambda: (upload(b"\x89PNG\r\n\x1a\n" + b"\0" * 20).pk, "file_type_refused"),
        "size": lambda: (upload(b"1" * 101).pk, "file_too_large"),
    }
    file_id, code = cases[case]()
    with pytest.raises(InvalidInput) as refused:
        submit(owner_id, file_id)
    (error,) = refused.value.field_errors
    assert (error.path, error.code) == (("input_data", "table"), code)
    assert not Task.objects.exists()


def test_files_in_lists_are_found_by_their_place(owner_id: UserId, upload: Upload) -> None:
    file = upload()
    with pytest.raises(InvalidInput) as refused:
        submit(owner_id, [file.pk, 2**62], "files-test-many")
    assert refused.value.field_errors[0].path == ("input_data", "tables", 1)
    task = submit(owner_id, [file.pk, file.pk], "files-test-many")
    assert FileUse.objects.filter(task=task).count() == 1


def test_files_in_root_and_generic_models_are_found_by_their_place_in_the_input(
    owner_id: UserId, upload: Upload
) -> None:
    with pytest.raises(InvalidInput) as refused:
        submit(owner_id, [upload().pk, 2**62], "files-test-root-model")
    assert refused.value.field_errors[0].path == ("input_data", "tables", 1)
    with pytest.raises(InvalidInput) as refused:
        submit(owner_id, {"inner": [upload().pk, 2**62]}, "files-test-generic-model")
    assert refused.value.field_errors[0].path == ("input_data", "tables", "inner", 1)


def test_a_retry_uses_the_same_files(owner_id: UserId, upload: Upload) -> None:
    file = upload()
    task = submit(owner_id, file.pk)
    lifecycle.cancel(task.id, by_id=None)
    task.refresh_from_db()
    again = lifecycle.retry(task)
    assert again.has_files
    with pytest.raises(FileInUse):
        removal.delete(file)


def test_files_go_with_their_last_task(owner_id: UserId, upload: Upload, stored: Stored) -> None:
    file = upload()
    tasks = [submit(owner_id, file.pk) for _ in range(2)]
    for task in tasks:
        lifecycle.cancel(task.id, by_id=None)
    deletion.delete(tasks[0])
    assert sweep() == 0
    deletion.delete(tasks[1])
    assert sweep() == 1
    assert len(stored.keys()) == 0
    counted(owner_id)


def test_what_nobody_needs_is_swept(owner_id: UserId, upload: Upload, stored: Stored) -> None:
    unused = upload()
    dead = Writer(begin(owner_id, "dead", size=None), is_size_known=False)
    dead.write(b"half")
    assert sweep() == 0
    StoredFile.objects.update(expires_at=Now() - timedelta(seconds=1))
    assert sweep() == 2
    with pytest.raises(UploadGone):
        dead.complete()
    assert (len(stored.keys()), usage.of(owner_id)) == (0, 0)
    assert not StoredFile.objects.filter(pk=unused.pk).exists()


def claimed(owner_id: UserId, worker_id: int) -> Any:
    (task,) = lifecycle.claim("default", {"files-test-many": 1}, worker_id=worker_id, process=1)[0]
    return task


def saved(owner_id: UserId, task: Any, name: str = "out.txt") -> StoredFile:
    saver = Saver(task.id, task.attempt, task.fence)
    writer = Writer(begin(owner_id, name, size=None, saver=saver), is_size_known=False)
    writer.write(b"out")
    return writer.complete()


@pytest.fixture
def worker_id(db: None) -> int:
    return take_lease("default")


def test_an_output_appears_in_the_transaction_of_the_end(owner_id: UserId, worker_id: int) -> None:
    task = submit(owner_id, [], "files-test-many")
    attempt = claimed(owner_id, worker_id)
    saved(owner_id, attempt)
    saved(owner_id, attempt)  # the second replaces the first
    assert not records.owned_by(owner_id).exists()
    transitions.finish([AttemptResult(attempt, Status.COMPLETED, saved_files=True)])
    task.refresh_from_db()
    (entry,) = records.of_tasks([task])[task.id]
    assert (entry.role, entry.file.name) == ("output", "out.txt")
    sweep()
    assert StoredFile.objects.count() == 1
    counted(owner_id)


def test_outputs_of_lost_attempts_are_swept(
    owner_id: UserId, worker_id: int, stored: Stored
) -> None:
    submit(owner_id, [], "files-test-many")
    first = claimed(owner_id, worker_id)
    saved(owner_id, first)
    assert sweep() == 0
    lifecycle.rescue(Task.objects.all())
    assert sweep() == 1
    second = claimed(owner_id, worker_id)
    kept = saved(owner_id, second)
    assert transitions.finish([AttemptResult(first, Status.COMPLETED, saved_files=True)]) == set()
    assert not records.owned_by(owner_id).exists()
    transitions.finish([AttemptResult(second, Status.COMPLETED, saved_files=True)])
    assert list(records.owned_by(owner_id)) == [kept]
    assert len(stored.keys()) == 1


def test_files_saved_before_a_checkpoint_are_kept_with_it(owner_id: UserId, worker_id: int) -> None:
    submit(owner_id, [], "files-test-many")
    first = claimed(owner_id, worker_id)
    kept = saved(owner_id, first, "kept.txt")
    assert lifecycle.keep_checkpoint(first, '{"steps": 1}', saved_files=True)
    saved(owner_id, first, "lost.txt")
    lifecycle.rescue(Task.objects.all())
    assert sweep() == 1
    second = claimed(owner_id, worker_id)
    transitions.finish([AttemptResult(second, Status.COMPLETED)])
    assert list(records.owned_by(owner_id)) == [kept]


def test_a_suspended_attempt_keeps_its_files(owner_id: UserId, worker_id: int) -> None:
    submit(owner_id, [], "files-test-many")
    first = claimed(owner_id, worker_id)
    saved(owner_id, first)
    suspended = AttemptResult(
        first, Status.IN_PROGRESS, checkpoint="{}", resumes=True, slept=1, saved_files=True
    )
    transitions.finish([suspended])
    assert sweep() == 0
    second = claimed(owner_id, worker_id)
    transitions.finish([AttemptResult(second, Status.COMPLETED)])
    assert records.owned_by(owner_id).count() == 1


def test_a_task_can_be_deleted_before_its_lost_outputs_are_swept(
    owner_id: UserId, worker_id: int, stored: Stored
) -> None:
    task = submit(owner_id, [], "files-test-many")
    saved(owner_id, claimed(owner_id, worker_id))
    lifecycle.cancel(task.id, by_id=None)
    lifecycle.rescue(Task.objects.all())
    task.refresh_from_db()
    assert task.status == Status.CANCELLED
    deletion.delete(task)
    connection.check_constraints()
    assert sweep() == 1
    assert (stored.keys(), usage.of(owner_id)) == (set(), 0)


def test_the_outputs_of_a_deleted_task_are_swept(
    owner_id: UserId, worker_id: int, stored: Stored
) -> None:
    task = submit(owner_id, [], "files-test-many")
    attempt = claimed(owner_id, worker_id)
    saved(owner_id, attempt)
    transitions.finish([AttemptResult(attempt, Status.COMPLETED, saved_files=True)])
    deletion.delete(task)
    assert sweep() == 1
    assert (len(stored.keys()), usage.of(owner_id)) == (0, 0)


def test_bytes_that_appear_after_the_sweep_are_deleted(owner_id: UserId, stored: Stored) -> None:
    late = Writer(begin(owner_id, "late", size=4), is_size_known=True)
    late.write(b"late")
    StoredFile.objects.update(expires_at=Now() - timedelta(seconds=1))
    assert sweep() == 1
    with pytest.raises(UploadGone):
        late.complete()
    assert stored.keys() == set()


def test_a_writer_that_is_slow_says_that_it_is_alive(
    owner_id: UserId, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = Writer(begin(owner_id, "slow", size=None), is_size_known=False)
    StoredFile.objects.update(expires_at=Now())
    monkeypatch.setattr("taskyard.files.writing.SIGN_SECONDS", 0)
    writer.write(b"x")
    assert sweep() == 0
    writer.complete()


def test_only_a_folder_keeps_the_first_half_of_an_upload(owner_id: UserId, stored: Stored) -> None:
    file = begin(owner_id, "half", size=8, resumable=True)
    first = Writer(file, is_size_known=True, resumable=True)
    first.write(b"half")
    first.pause()
    assert first.received == (4 if storage.folder() else 0)
    file.refresh_from_db()
    second = Writer(file, is_size_known=True, resumable=True)
    second.write(b"halfhalf"[first.received :])
    assert stored.data(second.complete().key) == b"halfhalf"


def test_a_folder_that_is_deleted_under_an_upload_is_an_outage(
    owner_id: UserId, folder: Path
) -> None:
    file = begin(owner_id, "a.csv", size=10, resumable=True)
    writer = Writer(file, is_size_known=True, resumable=True)
    writer.write(b"0123")
    shutil.rmtree(folder)
    with pytest.raises(StorageUnavailable):
        writer.pause()
    writer.pause()  # as after any error that passes
    file.refresh_from_db()
    assert file.received == 0, "bytes that are on no disk are not counted"
    whole = Writer(begin(owner_id, "b.csv", size=4), is_size_known=True)
    whole.write(b"0123")
    shutil.rmtree(folder)
    with pytest.raises(StorageUnavailable):
        whole.complete()
    counted(owner_id)


def test_what_a_sign_of_life_counts_outlives_the_process(
    owner_id: UserId, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taskyard.files.writing.SIGN_BYTES", 4)
    file = begin(owner_id, "a.csv", size=10, resumable=True)
    writer = Writer(file, is_size_known=True, resumable=True)
    writer.write(b"0123")
    file.refresh_from_db()
    assert file.received == 4
    assert (folder / file.key).read_bytes() == b"0123", "a SIGKILL now would lose the upload"
    writer.discard()


def test_the_storage_can_be_tried_out(stored: Stored) -> None:
    storage.try_out()
    assert (stored.keys(), stored.unfinished()) == (set(), 0)


def test_a_late_attempt_replaces_no_file_of_the_next(owner_id: UserId, worker_id: int) -> None:
    submit(owner_id, [], "files-test-many")
    first = claimed(owner_id, worker_id)
    saver = Saver(first.id, first.attempt, first.fence)
    late = Writer(begin(owner_id, "out.txt", size=None, saver=saver), is_size_known=False)
    late.write(b"late")
    lifecycle.rescue(Task.objects.all())
    second = claimed(owner_id, worker_id)
    kept = saved(owner_id, second)
    with pytest.raises(UploadGone):
        late.complete()
    late.discard()
    transitions.finish([AttemptResult(second, Status.COMPLETED, saved_files=True)])
    assert list(records.owned_by(owner_id)) == [kept]
    counted(owner_id)


def test_what_a_dead_attempt_has_half_written_is_swept_at_once(
    owner_id: UserId, worker_id: int, stored: Stored
) -> None:
    submit(owner_id, [], "files-test-many")
    attempt = claimed(owner_id, worker_id)
    saver = Saver(attempt.id, attempt.attempt, attempt.fence)
    dead = Writer(begin(owner_id, "half", size=4, saver=saver), is_size_known=True)
    dead.write(b"ha")
    StoredFile.objects.update(created_at=Now() - timedelta(days=1))
    assert sweep() == 0, "however long it takes, while the attempt lives"
    lifecycle.rescue(Task.objects.all())
    assert sweep() == 1
    assert (len(stored.keys()), usage.of(owner_id)) == (0, 0)
    dead.discard()


def test_a_sleep_without_a_checkpoint_keeps_files(owner_id: UserId, worker_id: int) -> None:
    submit(owner_id, [], "files-test-many")
    first = claimed(owner_id, worker_id)
    assert not first.has_files
    saved(owner_id, first)
    asleep = AttemptResult(first, Status.IN_PROGRESS, resumes=True, slept=1, saved_files=True)
    transitions.finish([asleep])
    second = claimed(owner_id, worker_id)
    assert second.has_files
    transitions.finish([AttemptResult(second, Status.COMPLETED)])
    assert records.owned_by(owner_id).count() == 1


def test_a_question_that_is_asked_twice_counts_once(owner_id: UserId, worker_id: int) -> None:
    """A worker asks again if the connection fails, and the first commit may have come through."""

    def twice(question: Callable[[], Any]) -> Any:
        question()
        return question()

    submit(owner_id, [], "files-test-many")
    attempt = claimed(owner_id, worker_id)
    saver = Saver(attempt.id, attempt.attempt, attempt.fence)
    file = begin(owner_id, "out.txt", size=None, saver=saver)
    writer = Writer(file, is_size_known=False, ask=twice)
    writer.write(b"out")
    counted(owner_id)
    assert writer.complete().size == 3
    counted(owner_id)
    assert usage.of(owner_id) == 3


def test_nobody_goes_on_with_an_upload_that_is_being_completed(
    owner_id: UserId, folder: Path
) -> None:
    file = begin(owner_id, "a.csv", size=8, resumable=True)
    tries: list[type[Exception]] = []

    def go_on_before(question: Callable[[], Any]) -> Any:
        with pytest.raises(Rejected) as refused:
            resume(StoredFile.objects.get(pk=file.pk), 0)
        tries.append(refused.type)
        return question()

    first = Writer(file, is_size_known=True, resumable=True, ask=go_on_before)
    first.write(b"a,b\n1,2\n")
    first.complete()
    assert tries == [UploadActive]
    with pytest.raises(WrongOffset):
        resume(StoredFile.objects.get(pk=file.pk), 0)


def test_a_second_writer_never_deletes_a_whole_file(owner_id: UserId, stored: Stored) -> None:
    file = begin(owner_id, "a.csv", size=8, resumable=True)
    first = Writer(file, is_size_known=True, resumable=True)
    first.write(b"a,b\n1,2\n")
    if storage.folder():
        first.complete()
    else:
        second = Writer(file, is_size_known=True, resumable=True)
        second.write(b"a,b\n")
        first.complete()
        second.discard()
    file.refresh_from_db()
    assert file.state == State.READY
    assert stored.data(file.key) == b"a,b\n1,2\n"


def test_a_killed_writer_has_said_what_a_later_request_can_go_on_from(
    owner_id: UserId, stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taskyard.files.writing.SIGN_BYTES", 1)
    file = begin(owner_id, "a.csv", size=8, resumable=True)
    writer = Writer(file, is_size_known=True, resumable=True)
    writer.write(b"a,b\n")
    file.refresh_from_db()
    assert file.received == (4 if storage.folder() else 0)
    if storage.folder():
        assert stored.data(file.key) == b"a,b\n"
    writer.abandon()
    again = resume(file, file.received)
    again.write(b"a,b\n1,2\n"[file.received :])
    again.complete()
    assert stored.data(file.key) == b"a,b\n1,2\n"
