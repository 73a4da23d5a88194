"""Paused queues, what is kept of attempts and lines, and what changed since when."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from django.db.models.functions import Now

from taskyard.core import history, leases, lifecycle, queues, transitions
from taskyard.core.engine import engine
from taskyard.core.models import LogLine, Task, Worker
from taskyard.core.states import Status
from taskyard.core.types import AttemptResult, ClaimedTask, Line, UserId

pytestmark = pytest.mark.django_db

Submit = Callable[..., Task]
Claim = Callable[..., list[ClaimedTask]]
NOW = datetime.now(UTC)


def test_nothing_of_a_paused_queue_is_claimed(
    submit: Submit, claim: Claim, owner_id: UserId
) -> None:
    submit()
    queues.pause("default", by_id=owner_id)
    queues.pause("default", by_id=None)
    assert claim() == []
    assert queues.paused() == {"default"}
    queues.resume("default", by_id=None)
    assert len(claim()) == 1


def test_attempts_are_told_in_order(submit: Submit, claim: Claim) -> None:
    task = submit()
    assert history.attempts(task) == []
    (first,) = claim()
    transitions.finish(
        [
            AttemptResult(
                task=first, status=Status.PENDING, error_code="exception", error_message="no"
            )
        ]
    )
    assert [a.outcome for a in history.attempts(Task.objects.get())] == ["failed"]
    (second,) = claim()
    assert [a.outcome for a in history.attempts(Task.objects.get())] == ["failed", "running"]
    transitions.finish([AttemptResult(task=second, status=Status.COMPLETED)])
    told = history.attempts(Task.objects.get())
    assert [(a.number, a.outcome, a.error_code) for a in told] == [
        (1, "failed", "exception"),
        (2, "completed", ""),
    ]


@pytest.mark.django_db(transaction=True)
def test_each_attempt_has_its_own_start(submit: Submit, claim: Claim) -> None:
    submit()
    (first,) = claim()
    transitions.finish([AttemptResult(task=first, status=Status.PENDING, error_code="exception")])
    (second,) = claim()
    asleep = AttemptResult(
        task=second, status=Status.IN_PROGRESS, slept=1, wake_at=datetime.now(UTC), resumes=True
    )
    transitions.finish([asleep])
    assert history.attempts(Task.objects.get())[1].started_at == second.claimed_at
    lifecycle.release_due()
    (resumed,) = claim()
    assert resumed.attempt_started_at == second.claimed_at < resumed.claimed_at
    transitions.finish([AttemptResult(task=resumed, status=Status.PENDING, error_code="exception")])
    (third,) = claim()
    transitions.finish([AttemptResult(task=third, status=Status.COMPLETED)])
    starts = [attempt.started_at for attempt in history.attempts(Task.objects.get())]
    assert starts == [first.claimed_at, second.claimed_at, third.claimed_at]


def test_lines_beyond_the_limit_are_counted_where_they_are_missing(submit: Submit) -> None:
    task = submit()
    lines = [Line(NOW, f"line {n}") for n in range(600)]
    kept = history.write_lines(task.id, 1, lines, kept=0, dropped=5)
    kept = history.write_lines(task.id, 1, lines, kept=kept, dropped=0)
    kept = history.write_lines(task.id, 2, lines, kept=kept, dropped=1)
    assert kept == history.lines_kept(task.id) == history.LINES_KEPT
    gaps = LogLine.objects.filter(dropped__gt=0).order_by("id").values_list("dropped", flat=True)
    assert list(gaps) == [5, 200 + 601]


def test_logged_lines_take_no_room_from_the_handlers_own(submit: Submit) -> None:
    task = submit()
    logged = [Line(NOW, "noise", "INFO")] * history.LINES_KEPT
    history.write_lines(task.id, 1, logged, kept=0, dropped=0)
    assert history.lines_kept(task.id) == 0
    assert history.lines_kept(task.id, logged=True) == history.LINES_KEPT


@pytest.mark.django_db(transaction=True)
def test_changes_between_two_cursors_are_exactly_those(submit: Submit, claim: Claim) -> None:
    database = engine()
    first, second = submit(), submit()
    since = database.snapshot()
    third = submit()
    until = database.snapshot()
    submit()
    changed = Task.objects.filter(database.between(since, until)).values_list("id", flat=True)
    assert list(changed) == [third.id]
    claim()
    changed = Task.objects.filter(database.between(until, database.snapshot())).values_list(
        "id", flat=True
    )
    assert set(changed) > {first.id, second.id}


def test_a_lease_that_ran_out_is_extended_only_while_it_is_there(worker_id: int) -> None:
    assert leases.renew(worker_id)
    Worker.objects.update(lease_until=Now() - timedelta(seconds=1))
    assert not leases.renew(worker_id)
    assert leases.revive(worker_id)
    assert leases.renew(worker_id)
    assert leases.leads(worker_id)
    Worker.objects.all().delete()
    assert not leases.renew(worker_id)
    assert not leases.revive(worker_id)
    assert not Worker.objects.exists()


def test_a_worker_without_a_lease_is_given_nothing(
    submit: Submit, claim: Claim, worker_id: int
) -> None:
    submit()
    Worker.objects.update(lease_until=Now() - timedelta(seconds=1))
    assert claim() == []
    Worker.objects.all().delete()
    assert claim() == []
    assert lifecycle.claim("default", {"sum": 1}, worker_id=0, process=1) == ([], False)


def test_workers_of_one_machine_are_never_one(owner_id: UserId) -> None:
    first, second = (leases.take(concurrency=1, queues=[]) for _ in range(2))
    assert first != second
    assert leases.renew(first)
    assert leases.renew(second)
    third = leases.take(concurrency=1, queues=[], dead=[first])
    Worker.objects.filter(id=second).update(started_at=Now() - timedelta(seconds=1))
    assert not leases.renew(first)
    assert leases.renew(second)
    assert leases.leads(second)
    assert not leases.leads(third)


def test_old_leases_are_deleted(worker_id: int) -> None:
    Worker.objects.update(lease_until=Now() - timedelta(days=2))
    assert leases.delete_expired() == 1
