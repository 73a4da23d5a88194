"""Many at a time: the same rules as for one, in batches that stand by themselves."""

from collections.abc import Callable
from typing import Any

import pytest

from taskyard.core import audit, bulk, lifecycle, quotas, transitions
from taskyard.core.models import AuditEntry, Quota, Task
from taskyard.core.states import Status
from taskyard.core.types import AttemptResult, AttemptState, Change, ClaimedTask, UserId
from tests.configured import configure
from tests.core.conftest import new_task

pytestmark = pytest.mark.django_db

Submit = Callable[..., Task]
Claim = Callable[..., list[ClaimedTask]]


def test_the_next_are_cancelled_or_asked_and_told(
    submit: Submit,
    claim: Claim,
    owner_id: UserId,
    settings: Any,
    published: list[Change],
    django_capture_on_commit_callbacks: Any,
) -> None:
    submit()
    (running,) = claim()
    configure(settings, ACTIVE_LIMIT=2 * lifecycle.SWEEP)
    waiting = lifecycle.submit_all(owner_id, [new_task()] * (lifecycle.SWEEP + 1))
    published.clear()
    with django_capture_on_commit_callbacks(execute=True):
        batches = [lifecycle.cancel_next(Task.objects.all(), by_id=owner_id) for _ in range(3)]
    assert batches == [lifecycle.SWEEP, 2, 0]
    assert lifecycle.report(running, None) is AttemptState.CANCELLING
    assert set(published) == {
        (owner_id, running.id, Status.IN_PROGRESS),
        *((owner_id, task_id, Status.CANCELLED) for task_id in waiting),
    }
    assert len(published) == lifecycle.SWEEP + 2
    quota = Quota.objects.get(user_id=owner_id)
    assert (quota.active, quota.cancelled) == (1, lifecycle.SWEEP + 1)


def test_only_those_asked_for_are_cancelled(submit: Submit, owner_id: UserId) -> None:
    kept, gone = submit(), submit("countdown")
    chosen = Task.objects.filter(task_type="countdown")
    assert bulk.cancel(chosen, by_id=owner_id, seconds=5) == 1
    assert set(Task.objects.values_list("id", "status")) == {
        (kept.id, "pending"),
        (gone.id, "cancelled"),
    }


def test_what_failed_is_retried_once_and_what_completed_never(submit: Submit, claim: Claim) -> None:
    for _ in range(3):
        submit()
    failed, cancelled, completed = claim()
    transitions.finish(
        [
            AttemptResult(task=failed, status=Status.ERROR, error_code="no"),
            AttemptResult(task=cancelled, status=Status.CANCELLED),
            AttemptResult(task=completed, status=Status.COMPLETED, result="6"),
        ]
    )
    assert bulk.retry(Task.objects.all(), seconds=5) == 2
    assert bulk.retry(Task.objects.all(), seconds=5) == 0
    again = Task.objects.filter(retry_of__isnull=False).values_list("retry_of", flat=True)
    assert set(again) == {failed.id, cancelled.id}


def test_a_deed_of_nobody_leaves_no_line_and_a_long_target_is_cut(owner_id: UserId) -> None:
    audit.record(None, "pause_queue", "default")
    assert not AuditEntry.objects.exists()
    audit.record(owner_id, "cancel_tasks", "x" * 500, done=3)
    line = AuditEntry.objects.get()
    assert (line.by_name, len(line.target), line.details) == (
        audit.name_of(owner_id),
        200,
        {"done": 3},
    )
    assert line.by_name.startswith("owner")


def test_a_limit_that_stays_leaves_no_line(owner_id: UserId) -> None:
    for limit in (None, 7, 7):
        quotas.change_limit(owner_id, limit, by_id=owner_id)
    assert AuditEntry.objects.count() == 1
    assert quotas.limits(owner_id).active_limit == 7


def test_two_who_retry_the_same_at_once_make_one_task(
    submit: Submit, claim: Claim, owner_id: UserId
) -> None:
    submit()
    lifecycle.cancel(Task.objects.get().pk, by_id=owner_id)
    seen_by_both = Task.objects.get()
    assert [bulk._retried(seen_by_both, set()) for _ in range(2)] == [True, False]
    assert Task.objects.filter(retry_of=seen_by_both).count() == 1
