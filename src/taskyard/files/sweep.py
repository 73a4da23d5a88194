"""Delete the files that no task and no user needs any more; one worker calls this each minute.

Unused uploads, what a dead writer has left, outputs of attempts that were lost, files whose tasks
are deleted, and the bytes of files that were deleted. The work is done in short steps, because the
worker renews its lease over the same connection, and because users wait for locked rows.
"""

import logging
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import nullcontext
from functools import partial

from django.db import transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.db.models.functions import Now

from taskyard.core.cleanup import Lock
from taskyard.core.states import ACTIVE
from taskyard.files import removal, storage
from taskyard.files.errors import StorageFull, StorageUnavailable
from taskyard.files.models import FileUse, Role, State, StoredFile

# Rows that one transaction marks.
AT_ONCE = 500
# Files whose bytes are deleted between two queries, and for how long at most.
ERASED_AT_ONCE, ERASE_SECONDS = 500, 0.25
# One call of ``clean_up`` works so long.
SECONDS = 1.0
# The storage is asked no more after so many failures: it may be away, or one file may be refused.
FAILURES = 10
logger = logging.getLogger(__name__)


def clean_up(database: Lock) -> bool:
    """Sweep for a second, and say in the log how many files were deleted; whether more are left.

    ``database`` is held for queries only, not while the storage deletes bytes.
    """
    until = time.monotonic() + SECONDS
    deleted, is_left = 0, False
    for erased in _steps(database):
        deleted += erased
        if time.monotonic() > until:
            is_left = True
            break
    if deleted:
        logger.info("files deleted", extra={"files": deleted})
    return is_left


def sweep() -> int:
    """Delete all that is over; how many files."""
    return sum(_steps(nullcontext()))


def _steps(database: Lock) -> Iterator[int]:
    """Delete a part at each step; how many files it deleted. Ends early if the storage fails."""
    if not (yield from _erase(database)):
        return
    unwanted = (_expired, _lost_outputs, _outputs_without_task)
    marks: list[Callable[[], bool]] = [partial(_mark, which) for which in unwanted]
    for mark in [*marks, _release_uses]:
        is_more = True
        while is_more:
            with database:
                is_more = mark()
            yield 0
            if not (yield from _erase(database)):
                return


def _expired() -> "QuerySet[StoredFile]":
    return StoredFile.objects.filter(expires_at__lt=Now()).order_by("expires_at")


def _unfinished() -> "QuerySet[StoredFile]":
    """By the index ``file_unfinished``; SQLite uses it only if its condition is in the query."""
    return StoredFile.objects.exclude(state=State.READY).order_by("pk")


def _lost_outputs() -> "QuerySet[StoredFile]":
    """Outputs, whole or not, that no end of an attempt can make visible any more."""
    hidden = _unfinished().filter(state__in=(State.WRITING, State.WRITTEN))
    outputs = hidden.filter(role=Role.OUTPUT, task__isnull=False)
    is_over = ~Q(task__status__in=ACTIVE)
    is_lost = Q(fence__isnull=False) & (Q(task__worker=None) | ~Q(task__fence=F("fence")))
    return outputs.filter(is_over | is_lost)


def _outputs_without_task() -> "QuerySet[StoredFile]":
    """Outputs of deleted tasks, unless another task uses them as inputs."""
    outputs = StoredFile.objects.filter(role=Role.OUTPUT, task=None).exclude(state=State.DELETING)
    uses = FileUse.objects.filter(file=OuterRef("pk"), task__isnull=False)
    return outputs.exclude(Exists(uses)).order_by("pk")


def _mark(unwanted: "Callable[[], QuerySet[StoredFile]]") -> bool:
    """Mark some files as to be deleted; whether there may be more."""
    with transaction.atomic():
        rows = unwanted().select_for_update(of=("self",), skip_locked=True)
        locked = [row.pk for row in rows[:AT_ONCE]]
        # A task may have taken a file as its input after the query began and before the lock.
        removal.mark(unwanted().filter(pk__in=locked).values_list("pk", flat=True))
    return len(locked) == AT_ONCE


def _release_uses() -> bool:
    """Forget uses of deleted tasks, and mark the files that no other task uses; whether there may
    be more."""
    with transaction.atomic():
        over = FileUse.objects.filter(task=None).order_by("pk")
        uses = dict(over.values_list("pk", "file_id")[:AT_ONCE])
        files = StoredFile.objects.select_for_update(of=("self",)).order_by("pk")
        locked = [row.pk for row in files.filter(pk__in=set(uses.values()))]
        FileUse.objects.filter(pk__in=uses).delete()
        removal.mark(removal.is_over(locked))
    return len(uses) == AT_ONCE


def _erase(database: Lock) -> Generator[int, None, bool]:
    """Delete the bytes and the rows of marked files in steps; whether the storage works."""
    beyond = failures = 0
    while True:
        with database:
            marked = _unfinished().filter(state=State.DELETING, pk__gt=beyond)
            chosen = list(marked.values_list("pk", "key", "sha256")[:ERASED_AT_ONCE])
        if not chosen:
            return True
        until = time.monotonic() + ERASE_SECONDS
        gone = []
        for file_id, key, sha256 in chosen:
            beyond = file_id
            try:
                storage.delete(key, is_whole=bool(sha256))
            except (StorageFull, StorageUnavailable):
                failures += 1
            else:
                gone.append(file_id)
            if failures == FAILURES or time.monotonic() > until:
                break
        with database:
            yield removal.forget(gone)
        if failures == FAILURES:
            return False
