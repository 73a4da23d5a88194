"""How long tasks waited and ran: counted once, and not again when the tasks are deleted."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from threading import Event, Thread
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.models import F

from taskyard.core import deletion, durations, lifecycle, transitions
from taskyard.core.engine import engine
from taskyard.core.models import DurationCursor, Task
from taskyard.core.states import Status
from taskyard.core.types import AttemptResult, ClaimedTask, UserId
from tests.conftest import TEST_DB
from tests.core.conftest import new_task
from tests.people import new_user

# What a transaction changes, only others see in a snapshot.
pytestmark = pytest.mark.django_db(transaction=True)

DUE = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
Of = tuple[str, str]


@pytest.fixture
def end(
    submit: Callable[..., Task], claim: Callable[..., list[ClaimedTask]]
) -> Callable[..., Task]:
    """Submit, claim and end a task, whose row then has these fields."""

    def end(status: Status = Status.COMPLETED, **fields: Any) -> Task:
        task = submit()
        for claimed in claim():
            transitions.finish([AttemptResult(task=claimed, status=status, result="1")])
        if fields:
            Task.objects.filter(id=task.id).update(**fields)
        task.refresh_from_db()
        return task

    return end


@pytest.fixture
def other_id(db: None) -> UserId:
    return new_user("other").pk


@pytest.fixture(autouse=True)
def begun(db: None) -> None:
    durations.count()


def counts(measure: str) -> dict[Of, int]:
    return {(h.task_type, h.status): h.buckets[-1][1] for h in durations.histograms(measure)}


def counted(measure: str) -> dict[Of, int]:
    durations.count()
    return counts(measure)


def counted_seconds(measure: str) -> dict[str, float]:
    durations.count()
    return {h.task_type: h.seconds for h in durations.histograms(measure)}


def after(seconds: float) -> datetime:
    return DUE + timedelta(seconds=seconds)


@contextmanager
def elsewhere(*calls: Callable[[], Any]) -> Iterator[None]:
    """Each call in a thread with a connection of its own; they have returned at the end."""

    def run(call: Callable[[], Any]) -> None:
        try:
            call()
        finally:
            connection.close()

    threads = [Thread(target=run, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    yield
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()


def test_the_first_call_counts_nothing_that_ended_before(end: Callable[..., Task]) -> None:
    DurationCursor.objects.all().delete()
    end()
    assert counted("run") == {}
    end()
    assert counted("run") == {("sum", "completed"): 1}


def test_each_task_counts_once_by_type_and_outcome(end: Callable[..., Task]) -> None:
    end()
    end(Status.ERROR)
    end(task_type="countdown")
    expected = {("sum", "completed"): 1, ("sum", "error"): 1, ("countdown", "completed"): 1}
    assert counted("run") == counts("wait") == expected
    assert counted("run") == counts("wait") == expected


def test_a_task_counts_when_it_has_ended(
    submit: Callable[..., Task], claim: Callable[..., list[ClaimedTask]]
) -> None:
    submit()
    assert counted("wait") == {}
    (claimed,) = claim()
    assert counted("wait") == {}
    transitions.finish([AttemptResult(task=claimed, status=Status.COMPLETED, result="1")])
    assert counted("wait") == counts("run") == {("sum", "completed"): 1}


def test_a_task_that_never_started_has_neither_waited_nor_run(
    submit: Callable[..., Task], owner_id: UserId
) -> None:
    lifecycle.cancel(submit().id, by_id=owner_id)
    assert counted("wait") == counts("run") == {}


def test_it_goes_on_when_tasks_and_users_are_deleted(
    end: Callable[..., Task], owner_id: UserId, django_user_model: Any
) -> None:
    first, old, _ = end(), end(created_at=after(0), finished_at=after(9)), end()
    assert counted("run") == {("sum", "completed"): 3}
    deletion.delete(first)
    assert deletion.purge(1)[0] == 1
    assert not Task.objects.filter(id__in=[first.id, old.id]).exists()
    assert counted("run") == {("sum", "completed"): 3}
    end()
    assert counted("run") == {("sum", "completed"): 4}
    django_user_model.objects.get(pk=owner_id).delete()
    assert not Task.objects.exists()
    assert counted("run") == {("sum", "completed"): 4}


def test_the_tasks_of_all_owners_count(end: Callable[..., Task], other_id: UserId) -> None:
    lifecycle.submit(other_id, new_task())
    end()
    assert counted("run") == {("sum", "completed"): 2}


def test_it_waited_from_when_it_was_due_to_its_first_start(end: Callable[..., Task]) -> None:
    end(created_at=after(0), started_at=after(7), claimed_at=after(50))
    end(created_at=after(-90), run_at=after(0), started_at=after(2), task_type="later")
    end(created_at=after(0), run_at=after(-60), started_at=after(4), task_type="overdue")
    assert counted_seconds("wait") == pytest.approx({"sum": 7, "later": 2, "overdue": 4})


def test_it_ran_from_its_last_claim_to_its_end(end: Callable[..., Task]) -> None:
    end(started_at=after(0), claimed_at=after(20), finished_at=after(32))
    end(started_at=after(0), claimed_at=None, finished_at=after(9), task_type="unclaimed")
    assert counted_seconds("run") == pytest.approx({"sum": 12, "unclaimed": 9})


@pytest.mark.parametrize(
    ("seconds", "bucket"),
    [
        (-1, "0.01"),
        (0, "0.01"),
        (0.01, "0.01"),
        (0.011, "0.05"),
        (0.1, "0.1"),
        (1, "1.0"),
        (1.001, "2.5"),
        (14400, "14400.0"),
        (14400.001, "+Inf"),
        (10**6, "+Inf"),
    ],
)
def test_a_bound_belongs_to_its_bucket(
    end: Callable[..., Task], seconds: float, bucket: str
) -> None:
    start = after(seconds)
    end(created_at=DUE, started_at=start, claimed_at=start, finished_at=after(2 * seconds))
    durations.count()
    labels = [*map(str, durations.BOUNDS), "+Inf"]
    for measure in ("wait", "run"):
        (histogram,) = durations.histograms(measure)
        grown = labels.index(bucket)
        assert histogram.buckets == [(le, int(i >= grown)) for i, le in enumerate(labels)]
        assert histogram.seconds == pytest.approx(max(0, seconds))


def test_two_calls_at_once_count_once(end: Callable[..., Task]) -> None:
    for _ in range(3):
        end()
    is_held = Event()

    def count() -> None:
        assert is_held.wait(10)
        durations.count()

    with elsewhere(count, count), transaction.atomic():
        # Both read the interval, and wait for their turn to write.
        DurationCursor.objects.update(cursor=F("cursor"))
        is_held.set()
        time.sleep(0.7)
    assert counts("run") == {("sum", "completed"): 3}
    assert counted("run") == {("sum", "completed"): 3}


def test_two_first_calls_at_once_agree(end: Callable[..., Task]) -> None:
    DurationCursor.objects.all().delete()
    with elsewhere(durations.count, durations.count):
        pass
    end()
    assert counted("run") == {("sum", "completed"): 1}


@pytest.mark.skipif(TEST_DB == "sqlite", reason="writers of SQLite come one by one")
def test_what_was_numbered_early_and_committed_late_is_counted(
    submit: Callable[..., Task], claim: Callable[..., list[ClaimedTask]], other_id: UserId
) -> None:
    # Of two owners: the end of a task locks its owner's counter until the commit.
    submit()
    lifecycle.submit(other_id, new_task("countdown"))
    early, late = sorted(claim(), key=lambda claimed: claimed.id)
    written, may_commit = Event(), Event()

    def end_slowly() -> None:
        with transaction.atomic():
            transitions.finish([AttemptResult(task=early, status=Status.COMPLETED, result="1")])
            written.set()
            assert may_commit.wait(10)

    with elsewhere(end_slowly):
        assert written.wait(10)
        transitions.finish([AttemptResult(task=late, status=Status.COMPLETED, result="1")])
        assert counted("run") == {("countdown", "completed"): 1}
        may_commit.set()
    assert counted("run") == {("sum", "completed"): 1, ("countdown", "completed"): 1}


def test_after_a_long_pause_calls_count_in_steps(
    end: Callable[..., Task], monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(4):
        end()
    monkeypatch.setattr(durations, "STEP", 2)
    monkeypatch.setattr(durations, "SECONDS", 0.0)
    found = [counted("run").get(("sum", "completed"), 0) for _ in range(40)]
    assert found == sorted(found)
    assert found[0] < 4
    assert found[-1] == 4
    end()
    monkeypatch.setattr(durations, "SECONDS", 10.0)
    assert counted("run") == {("sum", "completed"): 5}


@pytest.mark.skipif(TEST_DB == "sqlite", reason="SQLite's ticks are in its file")
def test_in_another_cluster_it_begins_again(end: Callable[..., Task]) -> None:
    DurationCursor.objects.update(cursor="4000000000:4000000000:")
    end()
    assert counted("run") == {}
    end()
    assert counted("run") == {("sum", "completed"): 1}


@pytest.mark.skipif(TEST_DB == "sqlite", reason="a cursor of SQLite is one number")
def test_a_step_keeps_what_was_under_way() -> None:
    step = engine().step
    assert step("10:20:10,12", "30:40:30,35", 100) == "30:40:30,35"
    assert step("10:20:10,12", "12:40:12,24,25,35", 5) == "12:25:12,24"
    assert step("10:20:10,12", "39:40:39", 5) == "25:25:"


def test_a_wait_for_the_next_attempt_is_no_run(
    submit: Callable[..., Task], claim: Callable[..., list[ClaimedTask]]
) -> None:
    task = submit(max_attempts=2)
    (claimed,) = claim()
    later = datetime.now(UTC) + timedelta(hours=1)
    again = AttemptResult(claimed, Status.PENDING, error_code="exception", wake_at=later)
    transitions.finish([again])
    lifecycle.cancel(task.id, by_id=None)
    assert counted("wait") == {("sum", "cancelled"): 1}
    assert counted("run") == {}
