"""Compare the record of files with the storage: rows without bytes, and bytes without rows.

Files are compared in batches, so the memory does not depend on their number. A row comes before its
first byte and goes after its last, so bytes without a row are left by a restore, or by a hand.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from enum import StrEnum
from itertools import islice

from django.utils import timezone

from taskyard.files import storage
from taskyard.files.errors import StorageFull, StorageUnavailable
from taskyard.files.models import State, StoredFile

# Files that are compared at a time, and how many of them at once: a storage may be far away.
AT_ONCE, THREADS = 500, 16
# Younger bytes without a row are left alone.
YOUNG = timedelta(hours=1)
# Only keys that we have made are deleted: the storage may hold other things.
OURS = re.compile(r"([0-9a-f]{2})/\1[0-9a-f]{30}")


class Wrong(StrEnum):
    """What is wrong with a file."""

    NO_BYTES = "row without bytes"
    SIZE = "wrong size"
    DIGEST = "wrong SHA-256"
    UNREADABLE = "cannot be read"
    NO_ROW = "bytes without a row"


Report = Callable[[Wrong, str], None]


def reconcile(
    report: Report, *, check_digests: bool = False, delete_unknown: bool = False
) -> Counter[str]:
    """Report each file that is wrong; how many ``rows`` and ``keys`` were compared, and the rest.

    Raises StorageUnavailable if the storage cannot be listed.
    """
    counts: Counter[str] = Counter()
    for wrong, text in _wrong_rows(counts, check_digests=check_digests):
        counts[wrong] += 1
        report(wrong, text)
    for key in _unknown_keys(counts):
        counts[Wrong.NO_ROW] += 1
        report(Wrong.NO_ROW, key)
        if delete_unknown:
            storage.delete(key)
            counts["deleted"] += 1
    return counts


def _wrong_rows(counts: Counter[str], *, check_digests: bool) -> Iterator[tuple[Wrong, str]]:
    beyond = 0
    whole = StoredFile.objects.filter(state__in=(State.WRITTEN, State.READY)).order_by("pk")
    with ThreadPoolExecutor(THREADS) as pool:
        while batch := list(whole.filter(pk__gt=beyond)[:AT_ONCE]):
            beyond = batch[-1].pk
            counts["rows"] += len(batch)
            found = pool.map(lambda file: _what_is_wrong(file, check_digests), batch)
            wrong = [(file, why) for file, why in zip(batch, found, strict=True) if why]
            # One that was deleted meanwhile is not wrong.
            there = set(whole.filter(pk__in=[file.pk for file, _ in wrong]).values_list("pk"))
            for file, why in wrong:
                if (file.pk,) in there:
                    yield why, f"file {file.pk} {file.key}"


def _what_is_wrong(file: StoredFile, check_digest: bool) -> Wrong | None:
    try:
        size = storage.size(file.key)
        if size != file.size:
            return Wrong.SIZE
        if check_digest and _digest(file.key) != file.sha256:
            return Wrong.DIGEST
    except FileNotFoundError:
        return Wrong.NO_BYTES
    except (StorageFull, StorageUnavailable):
        return Wrong.UNREADABLE
    return None


def _digest(key: str) -> str:
    digest = hashlib.sha256()
    with storage.read(key) as stream, storage.reporting():
        while data := stream.read(2**20):
            digest.update(data)
    return digest.hexdigest()


def _unknown_keys(counts: Counter[str]) -> Iterator[str]:
    ours = filter(OURS.fullmatch, storage.keys())
    while batch := list(islice(ours, AT_ONCE)):
        counts["keys"] += len(batch)
        known = set(StoredFile.objects.filter(key__in=batch).values_list("key", flat=True))
        yield from (key for key in batch if key not in known and _is_old(key))


def _is_old(key: str) -> bool:
    """Whether the bytes are there, and have not been written of late."""
    try:
        return timezone.now() - storage.written_at(key) > YOUNG
    except FileNotFoundError:
        return False
