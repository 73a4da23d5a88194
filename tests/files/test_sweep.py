"""The sweep works in short steps, and deletes what a deleted user leaves."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.files.storage import FileSystemStorage

from taskyard import task_type
from taskyard.catalog.files import InputFile
from taskyard.core import deletion, intake, lifecycle
from taskyard.core.models import Task
from taskyard.core.types import UserId
from taskyard.files import storage, sweep
from taskyard.files.models import FileUsage, FileUse, Role, State, StoredFile
from taskyard.files.writing import Writer, begin

pytestmark = pytest.mark.django_db
Upload = Callable[..., StoredFile]


@task_type("files-test-sweep")
def reads(table: InputFile) -> int:
    with table.open() as stream:
        return len(stream.read())


class Slow(FileSystemStorage):
    """A storage that takes its time to delete, and may refuse some keys."""

    refused: frozenset[str] = frozenset()
    pause = 0.02

    def delete(self, name: str) -> None:
        time.sleep(self.pause)
        if name in self.refused:
            raise PermissionError(13, "refused")
        super().delete(name)


@pytest.fixture
def slow(folder: Path) -> Iterator[type[Slow]]:
    from django.conf import settings
    from django.test import override_settings

    path = f"{Slow.__module__}.{Slow.__qualname__}"
    backend = {"BACKEND": path, "OPTIONS": {"location": str(folder)}}
    with override_settings(STORAGES={**settings.STORAGES, "taskyard": backend}):
        yield Slow
    Slow.refused = frozenset()


def marked(count: int) -> list[StoredFile]:
    keys = [storage.new_key() for _ in range(count)]
    return StoredFile.objects.bulk_create(
        StoredFile(name="a", key=key, role=Role.INPUT, state=State.DELETING) for key in keys
    )


def outputs_of_deleted_tasks(count: int) -> list[StoredFile]:
    keys = [storage.new_key() for _ in range(count)]
    return StoredFile.objects.bulk_create(
        StoredFile(name="a", key=key, role=Role.OUTPUT, state=State.READY) for key in keys
    )


def test_one_call_is_short_and_says_what_is_left(slow: type[Slow]) -> None:
    marked(120)
    lock = threading.Lock()
    held: list[float] = []

    class Database(contextlib.AbstractContextManager[None]):
        def __enter__(self) -> None:
            lock.acquire()
            self.since = time.monotonic()

        def __exit__(self, *error: object) -> None:
            held.append(time.monotonic() - self.since)
            lock.release()

    began = time.monotonic()
    assert sweep.clean_up(Database())
    assert sweep.SECONDS < time.monotonic() - began < 3 * sweep.SECONDS
    assert max(held) < 0.5
    left = StoredFile.objects.count()
    assert 0 < left < 120
    while sweep.clean_up(Database()):
        assert StoredFile.objects.count() < left
        left = StoredFile.objects.count()
    assert not StoredFile.objects.exists()


def test_a_file_that_cannot_be_deleted_does_not_stop_the_others(
    slow: type[Slow], monkeypatch: Any
) -> None:
    monkeypatch.setattr(Slow, "pause", 0)
    first, *_ = marked(20)
    Slow.refused = frozenset({first.key})
    assert sweep.sweep() == 19
    assert list(StoredFile.objects.values_list("key", flat=True)) == [first.key]
    Slow.refused = frozenset()
    assert sweep.sweep() == 1


def test_a_storage_that_fails_is_left_alone(slow: type[Slow], monkeypatch: Any) -> None:
    monkeypatch.setattr(Slow, "pause", 0)
    Slow.refused = frozenset(file.key for file in marked(30))
    outputs_of_deleted_tasks(5)
    assert sweep.sweep() == 0
    assert StoredFile.objects.filter(state=State.READY).count() == 5
    Slow.refused = frozenset()
    assert sweep.sweep() == 35


def test_more_files_than_one_step_marks(owner_id: UserId, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "AT_ONCE", 10)
    count = 2 * sweep.AT_ONCE + 1
    outputs_of_deleted_tasks(count)
    assert sweep.sweep() == count


def test_the_files_of_a_deleted_user_go(owner_id: UserId, upload: Upload, folder: Path) -> None:
    upload()
    used = upload()
    lifecycle.submit(
        owner_id,
        intake.parse_task({"task_type": "files-test-sweep", "input_data": {"table": used.pk}}),
    )
    writer = Writer(begin(owner_id, "half", size=None), is_size_known=False)
    writer.write(b"half")
    get_user_model().objects.filter(pk=owner_id).delete()
    assert sweep.sweep() == 3
    for model in (StoredFile, FileUse, FileUsage, Task):
        assert not model.objects.exists()
    writer.abandon()
    assert [path for path in folder.rglob("*") if path.is_file()] == []


def test_the_files_of_others_stay(owner_id: UserId, other_id: UserId, upload: Upload) -> None:
    kept = upload(owner=other_id)
    system = upload(owner=None)
    upload()
    get_user_model().objects.get(pk=owner_id).delete()
    assert sweep.sweep() == 1
    assert set(StoredFile.objects.all()) == {kept, system}


def test_an_output_that_another_task_uses_stays(owner_id: UserId) -> None:
    (output,) = outputs_of_deleted_tasks(1)
    StoredFile.objects.update(owner_id=owner_id)
    data = {"task_type": "files-test-sweep", "input_data": {"table": output.pk}}
    task = lifecycle.submit(owner_id, intake.parse_task(data))
    assert sweep.sweep() == 0
    lifecycle.cancel(task.id, by_id=None)
    deletion.delete(task)
    assert sweep.sweep() == 1


def test_an_output_that_a_task_has_just_taken_stays(owner_id: UserId) -> None:
    (output,) = outputs_of_deleted_tasks(1)
    looks = 0

    def outputs() -> Any:
        nonlocal looks
        looks += 1
        if looks == 2:  # the submit has committed before the sweep could lock the file
            FileUse.objects.create(
                file=output, task=Task.objects.create(task_type="x", input_data={})
            )
        return StoredFile.objects.filter(pk=output.pk, uses=None)

    sweep._mark(outputs)
    output.refresh_from_db()
    assert output.state == State.READY
