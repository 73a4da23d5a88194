"""The record and the storage are compared: what is wrong is named, and nothing young is deleted."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from taskyard.core.types import UserId
from taskyard.files import reconcile, storage
from taskyard.files.models import State, StoredFile
from taskyard.files.reconcile import Wrong
from taskyard.files.writing import Writer, begin
from tests.files.storages import Stored

pytestmark = pytest.mark.django_db
Upload = Callable[..., StoredFile]


def found(*, check_digests: bool = False, delete: bool = False) -> dict[str, list[str]]:
    """The names of what is wrong, by kind."""
    wrong: dict[str, list[str]] = {}
    reconcile.reconcile(
        lambda kind, text: wrong.setdefault(kind, []).append(text.split()[-1]),
        check_digests=check_digests,
        delete_unknown=delete,
    )
    return wrong


def stray(folder: Path, *, age: float, key: str | None = None) -> str:
    key = key or storage.new_key()
    path = folder / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"stray")
    then = time.time() - age
    os.utime(path, (then, then))
    return key


def test_nothing_is_wrong_before_the_first_file(stored: Stored) -> None:
    assert stored.keys() == set()
    assert found(check_digests=True, delete=True) == {}


def test_nothing_is_wrong(owner_id: UserId, upload: Upload) -> None:
    upload()
    writer = Writer(begin(owner_id, "half", size=None), is_size_known=False)
    writer.write(b"half")
    writer.pause()
    StoredFile.objects.create(name="gone", key=storage.new_key(), state=State.DELETING)
    assert found(check_digests=True, delete=True) == {}
    assert StoredFile.objects.filter(key=writer._file.key).exists()


def test_each_fault_is_named(upload: Upload, folder: Path) -> None:
    lost, short, changed, _ = (upload() for _ in range(4))
    (folder / lost.key).unlink()
    (folder / short.key).write_bytes(b"a")
    (folder / changed.key).write_bytes(b"b,a\n2,1\n")
    old = stray(folder, age=3700)
    expected: dict[str, list[str]] = {
        Wrong.NO_BYTES: [lost.key],
        Wrong.SIZE: [short.key],
        Wrong.NO_ROW: [old],
    }
    assert found() == expected
    assert found(check_digests=True) == expected | {Wrong.DIGEST: [changed.key]}
    assert (folder / old).exists()


def test_only_old_bytes_of_ours_are_deleted(upload: Upload, folder: Path) -> None:
    kept = upload()
    old = stray(folder, age=3700)
    young = stray(folder, age=3500)
    foreign = stray(folder, age=10**6, key="media/photo.jpg")
    assert found(delete=True) == {Wrong.NO_ROW: [old]}
    assert not (folder / old).exists()
    for key in (kept.key, young, foreign):
        assert (folder / key).exists()
    assert found() == {}


def test_more_files_than_one_batch(owner_id: UserId, folder: Path) -> None:
    count = reconcile.AT_ONCE + 10
    StoredFile.objects.bulk_create(
        StoredFile(name="a", key=storage.new_key(), role="input", state=State.READY)
        for _ in range(count)
    )
    old = {stray(folder, age=3700) for _ in range(count)}
    wrong = found()
    assert len(wrong[Wrong.NO_BYTES]) == count
    assert set(wrong[Wrong.NO_ROW]) == old
