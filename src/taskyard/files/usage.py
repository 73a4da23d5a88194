"""The quota of a user's files, in number and bytes: taken before the bytes are written, and exact.

Each function works in the caller's transaction. Files of the system have no quota.
"""

from django.db.models import F, QuerySet

from taskyard.core.conf import conf
from taskyard.core.types import UserId
from taskyard.files.errors import FileBytesExceeded, FileCountExceeded
from taskyard.files.models import FileUsage


def take(owner_id: UserId | None, size: int, *, files: int = 0) -> None:
    """Count further files and bytes. Raises FileBytesExceeded, FileCountExceeded."""
    if owner_id is None:
        return
    most_bytes, most_files = conf().FILES_PER_USER, conf().FILE_COUNT_PER_USER
    fitting = FileUsage.objects.filter(
        user_id=owner_id, bytes__lte=most_bytes - size, files__lte=most_files - files
    )
    if _add(fitting, size, files):
        return
    FileUsage.objects.bulk_create([FileUsage(user_id=owner_id)], ignore_conflicts=True)
    if _add(fitting, size, files):
        return
    if FileUsage.objects.filter(user_id=owner_id, files__gt=most_files - files).exists():
        raise FileCountExceeded(limit=most_files)
    raise FileBytesExceeded(limit=most_bytes)


def add(owner_id: UserId | None, size: int) -> None:
    """Count a further file, also beyond the limits."""
    if owner_id is not None:
        FileUsage.objects.bulk_create([FileUsage(user_id=owner_id)], ignore_conflicts=True)
        _add(FileUsage.objects.filter(user_id=owner_id), size, 1)


def give_back(owner_id: UserId | None, size: int, *, files: int = 0) -> None:
    """Count so many files and bytes no more."""
    if owner_id is not None and (size or files):
        _add(FileUsage.objects.filter(user_id=owner_id), -size, -files)


def of(owner_id: UserId) -> int:
    """The bytes of the owner's files."""
    found = FileUsage.objects.filter(user_id=owner_id).values_list("bytes", flat=True).first()
    return found or 0


def _add(rows: "QuerySet[FileUsage]", size: int, files: int) -> int:
    return rows.update(bytes=F("bytes") + size, files=F("files") + files)
