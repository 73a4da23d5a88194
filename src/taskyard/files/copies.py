"""Copies of the bytes of files in a folder, for a backup: one file each, under the key of its row.

Bytes that are not those of the row are no copy: they count as missing.

Bytes never change under a key, so a later copy into the same folder copies only what is new.
"""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from taskyard.files import storage
from taskyard.files.errors import DigestMismatch
from taskyard.files.models import State, StoredFile

CHUNK = 2**20


class Copied(NamedTuple):
    """How many files were copied, how many were there already, and the keys without bytes."""

    new: int
    there: int
    missing: list[str]


def copy_to(folder: Path) -> Copied:
    """Copy the bytes of all whole files. Raises OSError for the folder, StorageUnavailable."""
    new = there = 0
    missing = []
    for row in _rows():
        target = folder / row.key
        if _size(target) == row.size:
            there += 1
            continue
        try:
            with storage.read(row.key) as stream:
                write(target, stream, sha256=row.sha256)
            new += 1
        except (FileNotFoundError, DigestMismatch):
            missing.append(row.key)
    return Copied(new, there, missing)


def copy_from(folder: Path) -> Copied:
    """Copy back the bytes of all whole files, as the rows of the database name them.

    Raises OSError for the folder, StorageFull, StorageUnavailable.
    """
    new = there = 0
    missing = []
    for row in _rows():
        if _size_in_storage(row.key) == row.size:
            there += 1
            continue
        if _size(folder / row.key) != row.size:
            missing.append(row.key)
            continue
        storage.delete(row.key)
        with (folder / row.key).open("rb") as stream:
            target = storage.create(row.key, at_most=row.size)
            while data := stream.read(CHUNK):
                with storage.reporting():
                    target.write(data)
            storage.close(target)
        new += 1
    return Copied(new, there, missing)


def write(target: Path, stream: BinaryIO, *, sha256: str) -> None:
    """Write a new file, which appears when it is whole and safe on the disk.

    Raises DigestMismatch if the stream has other bytes.
    """
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = target.with_name(f"{target.name}.part")
    digest = hashlib.sha256()
    with open(draft, "wb", opener=_private) as file:
        while data := stream.read(CHUNK):
            digest.update(data)
            file.write(data)
        file.flush()
        os.fsync(file.fileno())
    if digest.hexdigest() != sha256:
        draft.unlink()
        raise DigestMismatch
    draft.replace(target)


def _rows() -> Iterator[StoredFile]:
    """Read in batches, because a copy takes longer than a transaction should."""
    beyond = 0
    whole = StoredFile.objects.filter(state__in=(State.WRITTEN, State.READY)).order_by("pk")
    while batch := list(whole.filter(pk__gt=beyond).only("key", "size", "sha256")[:500]):
        beyond = batch[-1].pk
        yield from batch


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def _size_in_storage(key: str) -> int | None:
    try:
        return storage.size(key)
    except FileNotFoundError:
        return None


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
