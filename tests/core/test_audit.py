"""The audit log in the record: what is kept, searched, exported and deleted."""

import json
import tracemalloc
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from taskyard.core import audit
from taskyard.core.models import AuditEntry
from taskyard.core.types import UserId
from taskyard.worker import maintenance
from tests.configured import configure

NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)


def make(count: int, *, at: datetime = NOON, step: timedelta = timedelta(), **fields: Any) -> None:
    """Entries at ``at``, and each next one a step later."""
    AuditEntry.objects.bulk_create(
        AuditEntry(**{"action": "log_in", "at": at + step * number, **fields})
        for number in range(count)
    )


def exported(search: audit.Search) -> list[dict[str, Any]]:
    text = b"".join(audit.export(search)).decode()
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture(autouse=True)
def nothing_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "_left_out", 0)


def test_failed_log_ins_fill_no_table_and_are_counted(
    db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "FAILURES_A_MINUTE", 5)
    for number in range(12):
        audit.record_failed_log_in(f"name-{number}", is_known=True, address="203.0.113.7")
    assert AuditEntry.objects.count() == 5
    AuditEntry.objects.update(at=datetime.now(UTC) - timedelta(minutes=2))
    for _ in range(2):
        audit.record_failed_log_in("ann", is_known=True, address="203.0.113.7")
    details = list(AuditEntry.objects.filter(by_name="ann").values_list("details", flat=True))
    assert details == [{"left_out": 7}, {}]


def test_a_name_that_no_user_has_is_not_kept(db: None) -> None:
    # People type passwords into the wrong field.
    for name in ("correct horse battery", "x", ""):
        audit.record_failed_log_in(name, is_known=False, address="")
    names = AuditEntry.objects.order_by("id").values_list("by_name", flat=True)
    assert list(names) == ["co…", "x…", "…"]


def test_what_is_too_long_is_cut(owner_id: UserId) -> None:
    audit.write("log_in", "t" * 999, by_id=owner_id, by_name="n" * 999, address="a" * 999)
    entry = AuditEntry.objects.get()
    assert (len(entry.target), len(entry.by_name), len(entry.address)) == (200, 254, 64)


def test_a_search_finds_by_name_action_and_time(owner_id: UserId) -> None:
    make(3, step=timedelta(hours=1), by_name="ann")
    make(1, by_name="bob", action="change_role")

    def count(**criteria: Any) -> int:
        return len(audit.latest(audit.Search(**criteria), before_id=None, at_most=10))

    assert count() == 4
    assert count(by_name="ann") == 3
    assert count(by_name="an") == 0
    assert count(action="change_role") == 1
    assert count(by_name="ann", action="change_role") == 0
    assert count(since=NOON + timedelta(hours=1)) == 2
    assert count(until=NOON + timedelta(hours=1)) == 2
    assert count(since=NOON, until=NOON) == 0


def test_pages_go_on_by_time_even_if_ids_do_not(db: None) -> None:
    # As after an import, whose entries have newer ids, and many at one time.
    make(5, at=NOON)
    make(5, at=NOON - timedelta(days=1))
    make(5, at=NOON)
    seen: list[AuditEntry] = []
    before: int | None = None
    while page := audit.latest(audit.Search(), before_id=before, at_most=4):
        seen += page
        before = page[-1].pk
    assert len({entry.pk for entry in seen}) == len(seen) == 15
    assert [entry.at for entry in seen] == sorted((e.at for e in seen), reverse=True)
    assert audit.latest(audit.Search(), before_id=987654, at_most=4) == []


def test_an_export_has_each_entry_once_oldest_first(
    owner_id: UserId, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "EXPORT_BATCH", 3)
    make(7, at=NOON)
    make(7, at=NOON - timedelta(days=1), step=timedelta(seconds=1))
    audit.record(owner_id, "pause_queue", "default", address="203.0.113.7", count=3)
    lines = exported(audit.Search())
    assert len({line["id"] for line in lines}) == len(lines) == 15
    assert [line["at"] for line in lines] == sorted(line["at"] for line in lines)
    (last,) = exported(audit.Search(action="pause_queue"))
    at = datetime.fromisoformat(last.pop("at"))
    assert at.utcoffset() == timedelta(0)
    assert last == {
        "id": AuditEntry.objects.latest("id").pk,
        "by_id": str(owner_id),
        "by_name": audit.name_of(owner_id),
        "action": "pause_queue",
        "target": "default",
        "address": "203.0.113.7",
        "details": {"count": 3},
    }


def test_times_of_the_database_and_of_an_import_are_one_order(
    owner_id: UserId, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "EXPORT_BATCH", 2)
    for _ in range(9):
        audit.record(owner_id, "pause_queue", "default")
    make(2)
    lines = [line["id"] for line in exported(audit.Search())]
    assert len(set(lines)) == len(lines) == 11
    seen: list[int] = []
    while page := audit.latest(audit.Search(), before_id=seen[-1] if seen else None, at_most=2):
        seen += [entry.pk for entry in page]
    assert seen == lines[::-1]


def test_an_export_goes_on_when_entries_expire_meanwhile(
    db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "EXPORT_BATCH", 3)
    make(9, step=timedelta(seconds=1))
    pieces = audit.export(audit.Search())
    first = [json.loads(line)["id"] for line in next(pieces).splitlines()]
    AuditEntry.objects.filter(id__in=first).delete()
    assert len(b"".join(pieces).splitlines()) == 6


def test_an_export_takes_the_same_memory_for_any_number(db: None) -> None:
    def peak(count: int) -> int:
        AuditEntry.objects.all().delete()
        make(count, step=timedelta(seconds=1))
        tracemalloc.start()
        length = sum(len(piece) for piece in audit.export(audit.Search()))
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert length > count * 100
        return most

    few = peak(1000)
    assert peak(8000) < 1.5 * few


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2026-11-28", datetime(2026, 11, 28, tzinfo=UTC)),
        (" 2026-11-28 12:00 ", NOON),
        ("2026-11-28T15:00+03:00", NOON),
        ("2026-11-28T12:00:00Z", NOON),
    ],
)
def test_times_are_in_utc(text: str, time: datetime) -> None:
    assert audit.parse_time(text) == time


@pytest.mark.parametrize("text", ["", "x", "12:00", "2026-13-01", "0001-01-01T00:00+10:00"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        audit.parse_time(text)


def test_old_entries_are_deleted_in_batches(
    owner_id: UserId, settings: Any, worker_id: int
) -> None:
    configure(settings, AUDIT_DAYS=30, RETENTION_DAYS=None)
    now = datetime.now(UTC)
    make(5, at=now - timedelta(days=31))
    make(2, at=now - timedelta(days=29))
    assert audit.delete_expired(3) == 3
    beyond_id: int | None = 0
    rounds = 0
    while beyond_id is not None:
        beyond_id = maintenance.purge(worker_id, beyond_id=beyond_id, at_most=1)
        rounds += 1
    assert (rounds, AuditEntry.objects.count()) == (3, 2)
    assert audit.delete_expired(3) == 0
