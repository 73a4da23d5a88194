"""The audit log: who did what, when, and from which address. Entries never change.

An entry is written with the deed in one transaction, or before it if the deed takes many. It holds
no inputs and no secrets.
"""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from django.contrib.auth import get_user_model
from django.db.models import F, Q, QuerySet, Subquery
from django.db.models.functions import Now

from taskyard.core.conf import conf
from taskyard.core.models import AuditEntry
from taskyard.core.types import UserId

LONGEST_TARGET, LONGEST_NAME, LONGEST_ADDRESS = 200, 254, 64
LOG_IN_FAILED = "log_in_failed"
# More failed log-ins in a minute are counted, and the next entry has their number.
FAILURES_A_MINUTE = 60
EXPORT_BATCH = 1000
_MINUTE = timedelta(minutes=1)
_left_out = 0
_left_out_lock = threading.Lock()


def name_of(user_id: UserId) -> str:
    """The name that identifies a user, such as an e-mail address; empty if there is no such user.

    Reads no other column of the user.
    """
    users = get_user_model()._default_manager.only(get_user_model().USERNAME_FIELD)
    user = users.filter(pk=user_id).first()
    return "" if user is None else str(user.get_username())


def record(
    by_id: UserId | None, action: str, target: str = "", *, address: str = "", **details: Any
) -> None:
    """Add an entry; what no person did leaves none. ``details`` hold no inputs and no secrets."""
    if by_id is not None:
        write(action, target, by_id=by_id, by_name=name_of(by_id), address=address, **details)


def write(
    action: str,
    target: str = "",
    *,
    by_id: UserId | None = None,
    by_name: str = "",
    address: str = "",
    **details: Any,
) -> None:
    """Add an entry with one statement, also without a user: of a command or a failed log-in."""
    AuditEntry.objects.create(
        by_id=by_id,
        by_name=by_name[:LONGEST_NAME],
        action=action,
        target=target[:LONGEST_TARGET],
        address=address[:LONGEST_ADDRESS],
        details=details,
    )


def record_failed_log_in(name: str, *, is_known: bool, address: str) -> None:
    """Add an entry of a failed log-in, unless the last minute has FAILURES_A_MINUTE of them.

    Of a name that no user has, only the first two characters are kept: people type passwords into
    the wrong field.
    """
    global _left_out
    a_minute_ago = Now() - _MINUTE
    recent = AuditEntry.objects.filter(action=LOG_IN_FAILED, at__gt=a_minute_ago).order_by("-at")
    if recent[:FAILURES_A_MINUTE].count() >= FAILURES_A_MINUTE:
        with _left_out_lock:
            _left_out += 1
        return
    with _left_out_lock:
        left_out, _left_out = _left_out, 0
    details: dict[str, Any] = {"left_out": left_out} if left_out else {}
    shown = name if is_known else f"{name[:2]}…"
    write(LOG_IN_FAILED, by_name=shown, address=address, **details)


@dataclass(frozen=True, kw_only=True)
class Search:
    """What to find in the log; ``since`` is inclusive, ``until`` is not."""

    by_name: str = ""
    action: str = ""
    since: datetime | None = None
    until: datetime | None = None

    def entries(self) -> QuerySet[AuditEntry]:
        """The entries that match; each criterion has an index that also has the time."""
        entries = AuditEntry.objects.all()
        if self.by_name:
            entries = entries.filter(by_name=self.by_name)
        if self.action:
            entries = entries.filter(action=self.action)
        if self.since is not None:
            entries = entries.filter(at__gte=self.since)
        if self.until is not None:
            entries = entries.filter(at__lt=self.until)
        return entries


def parse_time(text: str) -> datetime:
    """A time in ISO 8601, in UTC unless it says otherwise. Raises ValueError."""
    time = datetime.fromisoformat(text.strip())
    try:
        return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    except OverflowError:
        raise ValueError("beyond the calendar") from None


def latest(search: Search, *, before_id: int | None, at_most: int) -> list[AuditEntry]:
    """The latest entries that match, or those that come before an entry in this order."""
    entries = search.entries().order_by("-at", "-id")
    if before_id is not None:
        # If the entry has expired, so have all before it, and none is found.
        at = _time_of(before_id)
        entries = entries.filter(Q(at__lt=at) | Q(id__lt=before_id), at__lte=at)
    return list(entries[:at_most])


def export(search: Search) -> Iterator[bytes]:
    """The entries that match as JSON lines, oldest first, in pieces of EXPORT_BATCH lines.

    Each piece is a query of its own, so memory does not grow with the log and no transaction stays
    open while a client reads.
    """
    columns = ("id", "at", "by_name", "action", "target", "address", "details")
    rows = search.entries().order_by("at", "id").values(*columns, user=F("by_id"))
    last_id: int | None = None
    while True:
        following = rows
        if last_id is not None:
            at = _time_of(last_id)
            following = rows.filter(Q(at__gt=at) | Q(id__gt=last_id), at__gte=at)
        if batch := list(following[:EXPORT_BATCH]):
            last_id = batch[-1]["id"]
            yield b"".join(_line(row) for row in batch)
        elif last_id is None or AuditEntry.objects.filter(id=last_id).exists():
            return
        else:
            last_id = None  # it has expired, and all before it


def delete_expired(at_most: int) -> int:
    """Delete the oldest entries beyond TASKYARD_AUDIT_DAYS; how many."""
    kept = timedelta(days=conf().AUDIT_DAYS)
    expired = AuditEntry.objects.filter(at__lt=Now() - kept).order_by("at")
    ids = expired.values("id")[:at_most]
    return AuditEntry.objects.filter(id__in=ids).delete()[0] if expired.exists() else 0


def _time_of(entry_id: int) -> Subquery:
    """The time of an entry, as the database has it.

    SQLite compares times as texts, and those of its clock have fewer digits than ours.
    """
    return Subquery(AuditEntry.objects.filter(id=entry_id).values("at"))


def _line(row: dict[str, Any]) -> bytes:
    user = row.pop("user")
    row |= {"by_id": None if user is None else str(user)}
    return orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z)
