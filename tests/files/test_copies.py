"""The bytes of a backup: copied once, named when they are missing, and copied back."""

from collections.abc import Callable
from pathlib import Path

import pytest

from taskyard.core.types import UserId
from taskyard.files import copies, storage
from taskyard.files.models import StoredFile
from taskyard.files.writing import Writer, begin

pytestmark = pytest.mark.django_db
Upload = Callable[..., StoredFile]


def test_bytes_are_copied_once_and_back(
    owner_id: UserId, upload: Upload, folder: Path, tmp_path: Path
) -> None:
    first, second = upload(b"1" * 10), upload(b"2" * 3_000_000)
    half = Writer(begin(owner_id, "half", size=None), is_size_known=False)
    half.write(b"half")
    half.pause()
    backup = tmp_path / "backup"
    assert copies.copy_to(backup) == (2, 0, [])
    third = upload()
    assert copies.copy_to(backup) == (1, 2, [])
    (folder / first.key).unlink()
    (folder / second.key).write_bytes(b"damaged")
    assert copies.copy_from(backup) == (2, 1, [])
    for file, data in ((first, b"1" * 10), (second, b"2" * 3_000_000), (third, b"a,b\n1,2\n")):
        with storage.read(file.key) as stream:
            assert stream.read() == data
    assert {path.stat().st_mode & 0o777 for path in folder.rglob("*") if path.is_file()} == {0o600}


def test_missing_bytes_are_named(upload: Upload, folder: Path, tmp_path: Path) -> None:
    lost, kept = upload(), upload()
    (folder / lost.key).unlink()
    backup = tmp_path / "backup"
    assert copies.copy_to(backup) == (1, 0, [lost.key])
    cut, changed = upload(b"0123456789"), upload(b"0123456789")
    (folder / cut.key).write_bytes(b"0123")
    (folder / changed.key).write_bytes(b"012345678X")
    assert copies.copy_to(backup) == (0, 1, [lost.key, cut.key, changed.key])
    assert [path.name for path in backup.rglob("*") if path.is_file()] == [kept.key[3:]]
    StoredFile.objects.filter(pk__in=(cut.pk, changed.pk)).delete()
    (backup / kept.key).write_bytes(b"cut")
    (folder / kept.key).unlink()
    assert copies.copy_from(backup) == (0, 0, [lost.key, kept.key])
