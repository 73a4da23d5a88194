"""Cancelling: at once where nothing runs, by asking where something does."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from taskyard.core import deletion, lifecycle, transitions
from taskyard.core.errors import NotCancellable, NotRetryable, StillActive
from taskyard.core.models import Quota, Task, Worker
from taskyard.core.states import Status
from taskyard.core.types import AttemptResult, AttemptState, Change, ClaimedTask, LossReason, UserId

pytestmark = pytest.mark.django_db

Submit = Callable[..., Task]
Claim = Callable[..., list[ClaimedTask]]
LATER = datetime.now(UTC) + timedelta(hours=1)


def active(owner_id: UserId) -> int:
    return Quota.objects.get(user_id=owner_id).active


def suspend(task: ClaimedTask) -> None:
    transitions.finish(
        [AttemptResult(task=task, status=Status.IN_PROGRESS, wake_at=LATER, resumes=True, slept=1)]
    )


def test_pending_delayed_and_suspended_tasks_are_cancelled_at_once(
    submit: Submit, claim: Claim, owner_id: UserId
) -> None:
    suspended = submit("countdown")
    suspend(claim()[0])
    for task in (submit(), submit(run_at=LATER), suspended):
        cancelled = lifecycle.cancel(task.id, by_id=owner_id)
        assert (cancelled.status, cancelled.ready, cancelled.wake_at) == ("cancelled", False, None)
        assert cancelled.cancel_requested_by_id == owner_id
        assert lifecycle.cancel(task.id, by_id=owner_id).finished_at == cancelled.finished_at
    assert active(owner_id) == 0


def test_a_running_task_is_asked(submit: Submit, claim: Claim, owner_id: UserId) -> None:
    task = submit()
    (claimed,) = claim()
    asked = lifecycle.cancel(task.id, by_id=owner_id)
    assert asked.status == "in_progress"
    assert asked.cancel_requested_at is not None
    assert lifecycle.report(claimed, None) is AttemptState.CANCELLING
    transitions.finish([AttemptResult(task=claimed, status=Status.CANCELLED)])
    assert Task.objects.get().status == "cancelled"
    assert active(owner_id) == 0


def test_a_completion_that_comes_first_wins(submit: Submit, claim: Claim, owner_id: UserId) -> None:
    task = submit()
    (claimed,) = claim()
    lifecycle.cancel(task.id, by_id=owner_id)
    transitions.finish([AttemptResult(task=claimed, status=Status.COMPLETED, result="6")])
    with pytest.raises(NotCancellable):
        lifecycle.cancel(task.id, by_id=owner_id)
    assert Task.objects.get().status == "completed"


@pytest.mark.parametrize("going_on", [{"resumes": True, "slept": 1}, {"error_code": "exception"}])
def test_a_task_that_was_asked_to_stop_does_not_go_on(
    submit: Submit, claim: Claim, owner_id: UserId, going_on: dict[str, object]
) -> None:
    task = submit()
    (claimed,) = claim()
    lifecycle.cancel(task.id, by_id=owner_id)
    status = Status.PENDING if "error_code" in going_on else Status.IN_PROGRESS
    transitions.finish([AttemptResult(task=claimed, status=status, wake_at=LATER, **going_on)])  # type: ignore[arg-type]
    assert Task.objects.get().status == "cancelled"
    assert active(owner_id) == 0


def test_the_cancel_of_a_task_that_ends_an_attempt_is_announced(
    submit: Submit,
    claim: Claim,
    owner_id: UserId,
    published: list[Change],
    django_capture_on_commit_callbacks: Any,
) -> None:
    task = submit()
    (claimed,) = claim()
    lifecycle.cancel(task.id, by_id=owner_id)
    published.clear()
    with django_capture_on_commit_callbacks(execute=True):
        transitions.finish([AttemptResult(claimed, Status.PENDING, error_code="no", wake_at=LATER)])
    assert published[-1] == (owner_id, task.id, Status.CANCELLED)


def test_a_lost_task_that_was_asked_to_stop_does_not_run_again(
    submit: Submit, claim: Claim, owner_id: UserId
) -> None:
    task = submit()
    claim()
    lifecycle.cancel(task.id, by_id=owner_id)
    Worker.objects.all().delete()
    assert lifecycle.rescue(Task.objects.lost(Worker.objects.alive())) == set()
    assert Task.objects.get().status == "cancelled"
    assert active(owner_id) == 0


@pytest.mark.parametrize(
    ("reason_of", "status", "attempt"),
    [
        (LossReason.LOST, "pending", 2),
        (LossReason.UNCHARGED, "pending", 1),
        (LossReason.TIMED_OUT, "error", None),
    ],
)
def test_a_verdict_decides_what_is_charged(
    submit: Submit, claim: Claim, worker_id: int, reason_of: LossReason, status: str, attempt: int
) -> None:
    submit()
    (stale,) = claim()
    lifecycle.rescue(Task.objects.dropped_by(worker_id, []), reason_of=lambda task: reason_of)
    assert Task.objects.get().status == status
    again = claim()
    assert [claimed.attempt for claimed in again] == ([attempt] if attempt else [])
    assert transitions.finish([AttemptResult(task=stale, status=Status.COMPLETED)]) == set()


def test_a_retry_is_a_new_task(submit: Submit, claim: Claim, owner_id: UserId) -> None:
    task = submit(tags=("a",), priority=2)
    with pytest.raises(NotRetryable):
        lifecycle.retry(Task.objects.get(id=task.id))
    again = lifecycle.retry(lifecycle.cancel(task.id, by_id=owner_id))
    assert (again.retry_of_id, again.tags, again.priority) == (task.id, ["a"], 2)
    assert Task.objects.get(id=again.id).retry_of_id == task.id
    assert active(owner_id) == 1


def test_only_what_has_ended_is_deleted(submit: Submit, owner_id: UserId) -> None:
    task = submit()
    with pytest.raises(StillActive):
        deletion.delete(task)
    deletion.delete(lifecycle.cancel(task.id, by_id=owner_id))
    assert not Task.objects.exists()
    assert active(owner_id) == 0


@pytest.mark.django_db(transaction=True)
def test_a_task_that_is_asked_to_stop_has_its_grace(
    submit: Submit, claim: Claim, worker_id: int
) -> None:
    task = submit()
    claim()
    lifecycle.cancel(task.id, by_id=None)
    assert not Task.objects.past_cancel_grace(worker_id, grace_seconds=60)
    assert list(Task.objects.past_cancel_grace(worker_id, grace_seconds=0)) == [task]
    assert not Task.objects.past_cancel_grace(worker_id + 1, grace_seconds=0)
