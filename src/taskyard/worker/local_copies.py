"""Local copies of input files: the processes of a worker keep and share them.

An attempt takes a copy by renaming its folder, so no two attempts have one copy, and none is
deleted while it is used. When the attempt ends, an unchanged copy goes back. All lie in the folder
of the process table, which the reaper removes with the worker.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from taskyard.worker import identity, process_tree
from taskyard.worker.process_table import PREFIX

# The bytes that are kept, beside the copies that are in use.
MOST_BYTES = 2**30
LOCK = "lock"
# Of most file systems, in bytes.
LONGEST_NAME = 255
LONGEST_EXTENSION = 20


@dataclass(frozen=True)
class Copy:
    """A file in a folder of its own.

    Its time is that of the upload, so a change by a handler shows.
    """

    folder: Path
    name: str
    size: int
    uploaded_at: datetime

    @property
    def path(self) -> Path:
        return self.folder / _fitting(self.name)

    @contextmanager
    def writing(self) -> Iterator[BinaryIO]:
        """Write the copy."""
        self.folder.mkdir()
        with self.path.open("wb") as stream:
            yield stream
        os.utime(self.path, ns=(self._moment, self._moment))

    @property
    def is_unchanged(self) -> bool:
        """Whether the copy is whole, and no handler has changed it or left another file here."""
        try:
            status = self.path.lstat()
            names = os.listdir(self.folder)
        except OSError:
            return False
        as_written = (self.size, self._moment)
        return (status.st_size, status.st_mtime_ns) == as_written and names == [self.path.name]

    def delete(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def _moment(self) -> int:
        return int(self.uploaded_at.timestamp()) * 10**9


def _fitting(name: str) -> str:
    """A name of at most ``LONGEST_NAME`` bytes, with its extension."""
    if len(name.encode()) <= LONGEST_NAME:
        return name
    stem, extension = os.path.splitext(name)
    if len(extension) > LONGEST_EXTENSION:
        stem, extension = name, ""
    return (
        stem.encode()[: LONGEST_NAME - len(extension.encode())].decode(errors="ignore") + extension
    )


class LocalCopies:
    """The copies of one worker: ``kept`` ones by file id, and ``used`` ones by process."""

    def __init__(self, root: Path, *, most_bytes: int = MOST_BYTES) -> None:
        self._root = root
        self._most_bytes = most_bytes
        self._kept = root / "kept"
        self._entered_by = 0
        self._lock = -1

    def new_folder(self) -> Path:
        """A new folder for the copies of one attempt. Raises OSError."""
        self._enter()
        try:
            return Path(tempfile.mkdtemp(dir=self._mine))
        except FileNotFoundError:  # the system has cleaned its temporary folder
            os.close(self._lock)
            self._entered_by = 0
            self._enter()
            return Path(tempfile.mkdtemp(dir=self._mine))

    def take(self, file_id: int, copy: Copy) -> bool:
        """Move the kept copy of a file to the attempt; false if there is none."""
        try:
            (self._kept / str(file_id)).rename(copy.folder)
        except OSError:
            return False
        if copy.is_unchanged:
            return True
        copy.delete()
        return False

    def give_back(self, file_id: int, copy: Copy) -> None:
        """Keep a copy for later attempts, if it is unchanged; the caller deletes it otherwise.

        Raises OSError.
        """
        if not copy.is_unchanged or copy.size > self._most_bytes:
            return
        self._kept.mkdir(exist_ok=True)  # the system may have cleaned its temporary folder
        with suppress(OSError):  # another attempt has given one back
            os.utime(copy.folder)
            copy.folder.rename(self._kept / str(file_id))
        self._evict()

    def _evict(self) -> None:
        """Delete the copies that were given back first, until the others are few enough."""
        total = 0
        for _, folder, size in sorted(self._sizes(), reverse=True):
            total += size
            if total > self._most_bytes:
                self._remove(folder)

    def _sizes(self) -> Iterator[tuple[float, Path, int]]:
        for folder in self._kept.iterdir():
            with suppress(OSError):  # another process has just taken it
                size = sum(path.stat().st_size for path in folder.iterdir())
                yield folder.stat().st_mtime, folder, size

    def _remove(self, folder: Path) -> None:
        """Rename, so that no other process takes it, and delete."""
        doomed = self._mine / uuid4().hex
        with suppress(OSError):
            folder.rename(doomed)
            shutil.rmtree(doomed)

    @property
    def _mine(self) -> Path:
        process = os.getpid()
        return self._root / "used" / f"{process}-{process_tree.born(process)}"

    def _enter(self) -> None:
        """Before the first copy in a process: remove what dead ones have left."""
        if self._entered_by == os.getpid():
            return
        self._hold()
        for folder in (self._root / "used").iterdir():
            process, _, born = folder.name.partition("-")
            if process_tree.born(int(process)) != int(born):
                shutil.rmtree(folder, ignore_errors=True)
        self._mine.mkdir(exist_ok=True)
        self._entered_by = os.getpid()

    def _hold(self) -> None:
        """Lock the copies of this worker for as long as the process lives; remove unlocked ones."""
        path = self._root / LOCK
        while True:
            for folder in (self._kept, self._root / "used"):
                folder.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_SH)
            if path.exists() and path.stat().st_ino == os.fstat(self._lock).st_ino:
                break
            os.close(self._lock)  # another worker has just removed the folder
        for lock in self._root.parent.parent.glob(f"{PREFIX}*/{self._root.name}/{LOCK}"):
            if lock.parent != self._root:
                _remove_unless_locked(lock)


def _remove_unless_locked(lock: Path) -> None:
    """Remove the copies of a worker of which no process lives, as after a power failure."""
    with suppress(OSError), lock.open("r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(lock.parent)


@cache
def copies() -> LocalCopies:
    """The copies of this worker."""
    return LocalCopies(identity.process_table().folder / "files")
