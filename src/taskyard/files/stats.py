"""What the storage holds, and whose, for staff."""

from collections.abc import Iterable
from dataclasses import dataclass

from django.db.models import Count, Q, QuerySet, Sum

from taskyard.core.types import UserId
from taskyard.files.models import FileUsage, State, StoredFile


@dataclass(frozen=True)
class Amount:
    """How many files, and their bytes."""

    count: int = 0
    bytes: int = 0


def total() -> Amount:
    """All files but those that wait for deletion."""
    return _amount(~Q(state=State.DELETING))


def waiting_for_deletion() -> Amount:
    """Files that were deleted and whose bytes are still in the storage."""
    return _amount(Q(state=State.DELETING))


def unfinished() -> Amount:
    """Files that are being written, with the bytes that are reserved for them."""
    return _amount(Q(state=State.WRITING))


def without_owner() -> Amount:
    """Files of the system, and of users who were deleted."""
    return _amount(~Q(state=State.DELETING), owner=None)


def largest() -> "QuerySet[FileUsage]":
    """The users with files, those with the most bytes first."""
    return FileUsage.objects.filter(bytes__gt=0).order_by("-bytes", "pk")


def bytes_of(user_ids: Iterable[UserId]) -> dict[UserId, int]:
    """The bytes of the files of each of these users who has had any."""
    rows = FileUsage.objects.filter(user__in=list(user_ids))
    return dict(rows.values_list("user_id", "bytes"))


def counts(owner_ids: Iterable[UserId]) -> dict[UserId, int]:
    """The number of files of each of these users who has any."""
    rows = StoredFile.objects.filter(owner__in=list(owner_ids)).exclude(state=State.DELETING)
    return dict(rows.values_list("owner_id").annotate(many=Count("pk")))


def counted_bytes() -> int:
    """The bytes that count for users, without a look at the files."""
    found: int = FileUsage.objects.aggregate(all=Sum("bytes", default=0))["all"]
    return found


def by_state() -> dict[str, Amount]:
    """The files that are not ready, by their state: at the cost of these alone."""
    rows = StoredFile.objects.exclude(state=State.READY).values_list("state")
    found = {
        state: Amount(count, size)
        for state, count, size in rows.annotate(many=Count("pk"), all=Sum("size"))
    }
    states = (State.WRITING, State.WRITTEN, State.DELETING)
    return {state.value: found.get(state, Amount()) for state in states}


def _amount(condition: Q, **more: object) -> Amount:
    found = StoredFile.objects.filter(condition, **more)
    return Amount(**found.aggregate(count=Count("pk"), bytes=Sum("size", default=0)))
