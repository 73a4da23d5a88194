"""Write a file: reserve, write and hash its bytes, and make it whole.

The row comes first, and ``files.sweep`` deletes what a dead writer leaves: an input when its last
sign of life is too old, an output when its attempt is over. Until the row is complete, no user
sees the file.
"""

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now

from taskyard.catalog.files import MOST_FILES
from taskyard.core.conf import conf
from taskyard.core.errors import Rejected
from taskyard.core.models import Task
from taskyard.core.types import UserId
from taskyard.files import content, names, removal, storage, usage
from taskyard.files.errors import (
    DigestMismatch,
    FileTooLarge,
    StorageFull,
    StorageUnavailable,
    TooManyFiles,
    UploadGone,
    UploadIncomplete,
    WrongOffset,
)
from taskyard.files.models import Role, State, StoredFile

# A writer is believed alive for so long after its last sign.
ALIVE_SECONDS = 120
# An upload that can be resumed waits for its client, and an unused input for a task.
UNUSED_SECONDS = 24 * 3600
# Bytes that are reserved at a time if the size is not known.
STEP = 16 * 2**20
# The sign of life comes with so many bytes, and after so long.
SIGN_BYTES = 64 * 2**20
SIGN_SECONDS = ALIVE_SECONDS / 4
HEAD_BYTES = 4096
Answer = TypeVar("Answer")
Ask = Callable[[Callable[[], Answer]], Answer]


@dataclass(frozen=True)
class Saver:
    """The attempt that saves an output."""

    task_id: int
    attempt: int
    fence: int


def begin(
    owner_id: UserId | None,
    name: str,
    *,
    size: int | None,
    saver: Saver | None = None,
    resumable: bool = False,
) -> StoredFile:
    """Make the row of a new file, and reserve its bytes if the size is known.

    Raises FileTooLarge, TooManyFiles, FileBytesExceeded, FileCountExceeded.
    """
    if size is not None and size > conf().FILE_LIMIT:
        raise FileTooLarge(limit=conf().FILE_LIMIT)
    if saver and _saved_by(saver) >= MOST_FILES:
        raise TooManyFiles(limit=MOST_FILES)
    alive = UNUSED_SECONDS if resumable else ALIVE_SECONDS
    with transaction.atomic():
        if saver:
            without = Task.objects.filter(pk=saver.task_id, has_files=False)
            without.update(has_files=True)
        file = StoredFile.objects.create(
            owner_id=owner_id,
            name=names.clean(name),
            size=size or 0,
            key=storage.new_key(),
            role=Role.OUTPUT if saver else Role.INPUT,
            task_id=saver.task_id if saver else None,
            attempt=saver.attempt if saver else None,
            fence=saver.fence if saver else None,
            expires_at=None if saver else Now() + timedelta(seconds=alive),
        )
        usage.take(owner_id, size or 0, files=1)
    return file


def _saved_by(saver: Saver) -> int:
    """How many files the task has, without those of lost attempts."""
    own = Q(fence=saver.fence) | Q(fence=None)
    files = StoredFile.objects.filter(own, task_id=saver.task_id)
    return files.exclude(state=State.DELETING).count()


def first_writer(file: StoredFile, *, is_size_known: bool, resumable: bool = False) -> "Writer":
    """The writer of a new file, which is given up if the storage fails.

    Raises StorageFull, StorageUnavailable.
    """
    try:
        return Writer(file, is_size_known=is_size_known, resumable=resumable)
    except (StorageFull, StorageUnavailable):
        removal.give_up(file.pk)
        raise


def resume(file: StoredFile, offset: int) -> "Writer":
    """Go on with a paused upload at ``offset``.

    Raises WrongOffset, UploadActive, UploadGone, StorageFull, StorageUnavailable.
    """
    if offset != file.received:
        raise WrongOffset(offset=file.received)
    if offset == 0:
        storage.forget_parts(file.key)
    try:
        writer = Writer(file, is_size_known=True, resumable=True)
    except FileNotFoundError:
        raise UploadGone from None
    # Another request may have gone on before this one has opened the file, which excludes others.
    rows = StoredFile.objects.filter(pk=file.pk, state=State.WRITING)
    received = rows.values_list("received", flat=True).first()
    if received == offset:
        return writer
    writer.abandon()
    if received is None:
        raise UploadGone
    raise WrongOffset(offset=received)


class Writer:
    """Writes the bytes of one file, from one thread at a time.

    ``ask`` calls a function that uses the database; a worker has a connection of its own for that.
    """

    def __init__(
        self,
        file: StoredFile,
        *,
        is_size_known: bool,
        resumable: bool = False,
        ask: Ask[Any] = lambda question: question(),
    ) -> None:
        self.received = file.received
        # Once it is complete, the file must not be discarded.
        self.is_complete = False
        self._file = file
        self._is_output = file.role == Role.OUTPUT
        self._is_size_known = is_size_known
        self._alive_seconds = UNUSED_SECONDS if resumable else ALIVE_SECONDS
        self._ask = ask
        self._reserved = file.size
        self._signed_bytes = file.received
        self._signed_at = time.monotonic()
        # A server may take long to fail, so one that has failed is not asked again.
        self._is_server_away = False
        # The digest of the bytes so far; None if an earlier request has written some of them.
        self._digest: Any = None if file.received else hashlib.sha256()
        self._head = b""
        self._target: storage.Target | None = (
            storage.reopen(file.key, file.received)
            if file.received
            else storage.create(file.key, at_most=file.size or conf().FILE_LIMIT)
        )

    def write(self, data: bytes) -> None:
        """Append bytes.

        Raises FileTooLarge, FileBytesExceeded, UploadGone, StorageFull, StorageUnavailable.
        """
        if self._target is None:
            raise ValueError("the file is closed")
        self._reserve(len(data))
        if len(self._head) < HEAD_BYTES:
            self._head += data[: HEAD_BYTES - len(self._head)]
        if self._digest is not None:
            self._digest.update(data)
        with self._noting_failures(), storage.reporting():
            self._target.write(data)
        self.received += len(data)
        is_due = time.monotonic() - self._signed_at >= SIGN_SECONDS
        if is_due or self.received - self._signed_bytes >= SIGN_BYTES:
            self._sign()

    def complete(self, *, sha256: str | None = None) -> StoredFile:
        """Make the file whole: an input is ready, an output waits for the end of its attempt.

        Raises UploadIncomplete, DigestMismatch, UploadGone, StorageFull, StorageUnavailable.
        """
        if self._is_size_known and self.received != self._reserved:
            raise UploadIncomplete(size=self._reserved, received=self.received)
        if not storage.folder():
            self._sign()  # it may take long, and must not replace what another request has made
        self._settle()
        digest, head = self._digest_and_head()
        if sha256 is not None and sha256.lower() != digest:
            raise DigestMismatch
        fields = {
            "state": State.WRITTEN if self._is_output else State.READY,
            "size": self.received,
            "received": self.received,
            "sha256": digest,
            "content_type": content.type_of(self._file.name, head),
            "expires_at": None if self._is_output else Now() + timedelta(seconds=UNUSED_SECONDS),
        }

        def write_row() -> StoredFile:
            rows = StoredFile.objects.filter(pk=self._file.pk)
            with transaction.atomic():
                _lock_attempt(self._file)
                # ``ask`` may ask again after a commit whose answer was lost.
                if not rows.filter(state=fields["state"], sha256=digest).exists():
                    row = _locked(self._file.pk)
                    if row.task_id is not None:
                        _replace_own(row.task_id, row.name)
                    rows.update(**fields)
                    usage.give_back(row.owner_id, row.size - self.received)
            self.is_complete = True
            return rows.get()

        try:
            complete: StoredFile = self._ask(write_row)
        except UploadGone:
            self.abandon()
            self._delete_what_came_late(self._ask)
            raise
        self.abandon()
        return complete

    def pause(self) -> None:
        """Keep what has arrived, for a later request that goes on at ``received``.

        That is nothing in a storage that is no folder. Raises UploadGone, StorageFull,
        StorageUnavailable.
        """
        if not storage.folder():
            self.abandon()
            self.received = 0
        try:
            self._settle()
            self._sign()
        finally:
            self.abandon()

    def rename(self, name: str) -> None:
        """Name the file, if its name comes after ``begin``."""
        self._file.name = names.clean(name)
        self._ask(lambda: self._file.save(update_fields=["name"]))

    def discard(self, *, ask: Ask[Any] | None = None) -> None:
        """Delete the row and the bytes. Left for the sweep is what cannot be deleted now."""
        ask = ask or self._ask
        self.abandon()
        if self._is_server_away:
            ask(lambda: removal.give_up(self._file.pk))
            return
        ask(lambda: removal.discard(self._file.pk))
        self._delete_what_came_late(ask)

    def _reserve(self, more: int) -> None:
        needed = self.received + more
        if needed > conf().FILE_LIMIT:
            raise FileTooLarge(limit=conf().FILE_LIMIT)
        if needed <= self._reserved:
            return
        if self._is_size_known:
            raise FileTooLarge(limit=self._reserved)
        self._ask(lambda: self._grow(needed))

    def _grow(self, needed: int) -> None:
        """Reserve more, and as little as needed if the owner has no more."""
        step = min(max(needed, self._reserved + STEP), conf().FILE_LIMIT)
        with transaction.atomic():
            row = _locked(self._file.pk)
            usage.take(row.owner_id, step - row.size)
            StoredFile.objects.filter(pk=row.pk).update(size=step)
        self._reserved = step

    def _sign(self) -> None:
        if self._is_output:  # its attempt has a lease
            return
        if self._target is not None:
            with self._noting_failures():
                storage.flush(self._target)
        self._signed_bytes, self._signed_at = self.received, time.monotonic()
        self._ask(self._write_sign)

    def _write_sign(self) -> None:
        alive = StoredFile.objects.filter(pk=self._file.pk, state=State.WRITING)
        until = Now() + timedelta(seconds=self._alive_seconds)
        kept = self.received if storage.folder() else 0  # what a later request can go on from
        if not alive.update(received=kept, expires_at=until):
            self.abandon()
            raise UploadGone

    def _settle(self) -> None:
        """Make the bytes safe; a file in a folder excludes others until ``abandon``."""
        if self._target is None:
            return
        try:
            with self._noting_failures():
                is_closed = storage.settle(self._target)
        except Rejected:
            self.received = self._signed_bytes  # what came later may not be on the disk
            self.abandon()
            raise
        if is_closed:
            self._target = None

    def abandon(self) -> None:
        """Close the file and change nothing else."""
        target, self._target = self._target, None
        if target is not None and not self._is_server_away:
            storage.abandon(target)

    def _delete_what_came_late(self, ask: Ask[Any]) -> None:
        """Delete bytes that appeared after the sweep has deleted the row."""

        def is_kept() -> bool:
            rows = StoredFile.objects.filter(pk=self._file.pk)
            return rows.exclude(state=State.DELETING).exists()

        if not ask(is_kept):
            with suppress(StorageFull, StorageUnavailable):
                storage.delete(self._file.key)

    @contextmanager
    def _noting_failures(self) -> Iterator[None]:
        try:
            yield
        except StorageUnavailable:
            self._is_server_away = storage.folder() is None
            raise

    def _digest_and_head(self) -> tuple[str, bytes]:
        if self._digest is not None:
            return self._digest.hexdigest(), self._head
        return digest_and_head(self._file.key)


def digest_and_head(key: str) -> tuple[str, bytes]:
    """Read a stored file: its SHA-256 and its first bytes. Raises FileNotFoundError."""
    digest, head = hashlib.sha256(), b""
    with storage.read(key) as stream, storage.reporting():
        while data := stream.read(2**20):
            head = head or data[:HEAD_BYTES]
            digest.update(data)
    return digest.hexdigest(), head


def _lock_attempt(file: StoredFile) -> None:
    """Lock the task of an output, before its files. Raises UploadGone if the attempt is over.

    So a late attempt cannot replace a file of the next.
    """
    if file.task_id is None or file.fence is None:
        return
    held = Task.objects.held_by_attempt(file.task_id, file.fence)
    if held.select_for_update(of=("self",), no_key=True).only("pk").first() is None:
        raise UploadGone


def _locked(file_id: int) -> StoredFile:
    """The row of a file that is still written. Raises UploadGone."""
    rows = StoredFile.objects.select_for_update(of=("self",))
    row = rows.filter(pk=file_id, state=State.WRITING).first()
    if row is None:
        raise UploadGone
    return row


def _replace_own(task_id: int, name: str) -> None:
    """Delete what the task has saved under the same name before."""
    earlier = StoredFile.objects.filter(task_id=task_id, name=name, state=State.WRITTEN)
    removal.mark(earlier.values_list("pk", flat=True))
