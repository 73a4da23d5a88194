"""The lifecycle: every change happens once, or says that it did not."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models.functions import Now

from taskyard.core import deletion, history, leases, lifecycle, quotas, transitions
from taskyard.core.errors import ActiveLimitExceeded, NotRetryable
from taskyard.core.models import Quota, Task, Worker
from taskyard.core.states import ACTIVE, TERMINAL, TRANSITIONS, Status
from taskyard.core.types import AttemptResult, AttemptState, ClaimedTask, Limits, UserId
from tests.core.conftest import new_task

pytestmark = pytest.mark.django_db

Submit = Callable[..., Task]
Claim = Callable[..., list[ClaimedTask]]


def completed(task: ClaimedTask) -> AttemptResult:
    return AttemptResult(task=task, status=Status.COMPLETED, result='{"result":6}')


def suspended(task: ClaimedTask, wake_at: datetime) -> AttemptResult:
    return AttemptResult(
        task=task, status=Status.IN_PROGRESS, wake_at=wake_at, resumes=True, slept=1
    )


def active(owner_id: UserId) -> int:
    return Quota.objects.get(user_id=owner_id).active


def test_the_table_of_states() -> None:
    assert {Status.COMPLETED, Status.ERROR, Status.CANCELLED} == TERMINAL
    assert {Status.PENDING, Status.IN_PROGRESS} == ACTIVE
    assert all(not TRANSITIONS[status] for status in TERMINAL)


def test_a_submitted_task_is_pending_and_holds_a_place(submit: Submit, owner_id: UserId) -> None:
    task = submit(tags=("a",))
    stored = Task.objects.get(id=task.id)
    assert (stored.status, stored.ready, stored.attempt, stored.tags) == ("pending", True, 0, ["a"])
    assert stored.created_at == task.created_at
    assert quotas.limits(owner_id) == Limits(5, 1, [task.id])
    assert active(owner_id) == 1


@pytest.mark.parametrize("name", ["shop.tasks.send", "склад.задачи.отправить"])
def test_a_type_may_have_the_path_of_a_function_as_its_name(
    submit: Submit, claim: Claim, name: str
) -> None:
    task = submit(name)
    assert [claimed.id for claimed in claim(**{name: 1})] == [task.id]


def test_the_sixth_active_task_is_refused(submit: Submit, owner_id: UserId) -> None:
    for _ in range(5):
        submit()
    with pytest.raises(ActiveLimitExceeded) as caught:
        submit()
    assert caught.value.limit == 5
    assert Task.objects.count() == active(owner_id) == 5


def test_a_users_own_limit_wins(submit: Submit, owner_id: UserId) -> None:
    lifecycle.open_quota(owner_id)
    Quota.objects.update(active_limit=1)
    submit()
    with pytest.raises(ActiveLimitExceeded) as caught:
        submit()
    assert caught.value.limit == 1


def test_several_are_accepted_in_order_or_not_at_all(owner_id: UserId) -> None:
    ids = lifecycle.submit_all(owner_id, [new_task(input_data={"numbers": [n]}) for n in range(4)])
    kept = Task.objects.order_by("id").values_list("id", "input_data")
    assert list(kept) == [(task_id, {"numbers": [n]}) for n, task_id in enumerate(ids)]
    with pytest.raises(ActiveLimitExceeded):
        lifecycle.submit_all(owner_id, [new_task(), new_task()])
    assert Task.objects.count() == 4


def test_claims_follow_priority_then_age(submit: Submit, claim: Claim) -> None:
    low, first, high, second = (submit(priority=priority) for priority in (0, 1, 2, 1))
    assert [task.id for task in claim()] == [high.id, first.id, second.id, low.id]


def test_a_claim_counts_the_attempt_and_names_the_holder(
    submit: Submit, claim: Claim, worker_id: int
) -> None:
    submit()
    (claimed,) = claim(process=42)
    task = Task.objects.get()
    assert (task.status, task.attempt, task.fence) == ("in_progress", 1, 1)
    assert (task.worker_id, task.process) == (worker_id, 42)
    assert json.loads(claimed.input_data) == {"numbers": [1, 2, 3]}
    assert task.started_at == claimed.started_at
    assert claim() == []


def test_a_claim_takes_only_as_many_together_as_each_type_allows(
    submit: Submit, claim: Claim
) -> None:
    kinds = ["sum", "sum", "slow", "sum", "slow"]
    tasks = [submit(kind) for kind in kinds]
    taken = []
    while claimed := claim(sum=2, slow=1):
        taken.append([task.id for task in claimed])
    ids = [task.id for task in tasks]
    assert taken == [ids[:2], [ids[2]], [ids[3]], [ids[4]]]


def test_a_claim_says_whether_more_waits(submit: Submit, worker_id: int) -> None:
    for _ in range(3):
        submit()

    def claim() -> tuple[int, bool]:
        claimed, more = lifecycle.claim("default", {"sum": 2}, worker_id=worker_id, process=1)
        return len(claimed), more

    assert [claim(), claim(), claim()] == [(2, True), (1, False), (0, False)]


def test_types_that_a_worker_does_not_know_wait_for_one_that_does(
    submit: Submit, claim: Claim
) -> None:
    submit("from-tomorrow")
    task = submit()
    assert [claimed.id for claimed in claim()] == [task.id]
    assert Task.objects.get(task_type="from-tomorrow").status == "pending"


def test_a_finished_task_has_its_result_and_gives_its_place_back(
    submit: Submit, claim: Claim, owner_id: UserId
) -> None:
    submit()
    (claimed,) = claim()
    assert transitions.finish([completed(claimed)]) == {claimed.id}
    task = Task.objects.get()
    assert (task.status, task.result, task.worker_id) == ("completed", {"result": 6}, None)
    assert task.finished_at is not None
    assert active(owner_id) == 0


def test_a_stale_attempt_cannot_finish(submit: Submit, claim: Claim, owner_id: UserId) -> None:
    submit()
    (stale,) = claim()
    Worker.objects.all().delete()
    lifecycle.rescue(Task.objects.lost(Worker.objects.alive()))
    assert transitions.finish([completed(stale)]) == set()
    assert Task.objects.get().status == "pending"
    worker_id = leases.take(concurrency=1, queues=[])
    (current,), _ = lifecycle.claim("default", {"sum": 1}, worker_id=worker_id, process=2)
    assert transitions.finish([completed(stale)]) == set()
    assert transitions.finish([completed(current)]) == {current.id}
    assert transitions.finish([completed(current)]) == set()
    assert active(owner_id) == 0


def test_endings_of_all_kinds_are_written_together(
    submit: Submit, claim: Claim, owner_id: UserId
) -> None:
    later = datetime.now(UTC) + timedelta(hours=1)
    for _ in range(4):
        submit()
    one, two, three, four = claim()
    transitions.finish(
        [
            completed(one),
            AttemptResult(task=two, status=Status.ERROR, error_code="bad", error_message="why"),
            suspended(three, later),
            AttemptResult(task=four, status=Status.PENDING, error_code="exception", wake_at=later),
        ]
    )
    tasks = {task.id: task for task in Task.objects.all()}
    assert [tasks[c.id].status for c in (one, two, three, four)] == [
        "completed",
        "error",
        "in_progress",
        "pending",
    ]
    assert tasks[two.id].error_message == "why"
    assert abs(tasks[three.id].wake_at - later) < timedelta(milliseconds=1)
    assert active(owner_id) == 2
    assert [attempt.number for attempt in tasks[four.id].attempts.all()] == [1]
    assert not tasks[three.id].attempts.exists()


def test_a_suspended_task_goes_on_in_the_same_attempt(submit: Submit, claim: Claim) -> None:
    submit("countdown")
    (first,) = claim()
    transitions.finish([suspended(first, datetime.now(UTC) - timedelta(seconds=1))])
    assert claim() == []
    assert lifecycle.release_due() == {"default"}
    (second,) = claim()
    assert (second.attempt, second.slept) == (1, 1)
    assert second.fence > first.fence
    assert second.started_at == first.started_at
    assert transitions.finish([completed(first)]) == set()


@pytest.mark.django_db(transaction=True)
def test_a_second_attempt_leaves_when_the_first_began(submit: Submit, claim: Claim) -> None:
    """In transactions of their own, for the time is that of the transaction."""
    submit(max_attempts=2)
    (first,) = claim()
    Worker.objects.update(lease_until=Now() - timedelta(seconds=1))
    lifecycle.rescue(Task.objects.lost(Worker.objects.alive()))
    again = leases.take(concurrency=1, queues=[])
    (second,), _ = lifecycle.claim("default", {"sum": 1}, worker_id=again, process=1)
    assert second.attempt == 2
    assert second.started_at == first.started_at
    assert second.claimed_at > first.claimed_at


def test_what_is_not_due_is_not_woken(submit: Submit, claim: Claim) -> None:
    submit("countdown")
    (first,) = claim()
    transitions.finish([suspended(first, datetime.now(UTC) + timedelta(hours=1))])
    assert lifecycle.release_due() == set()
    assert claim() == []


def test_a_delayed_task_waits_for_its_time_and_holds_a_place(
    submit: Submit, claim: Claim, owner_id: UserId
) -> None:
    submit(run_at=datetime.now(UTC) + timedelta(hours=1))
    submit(run_at=datetime.now(UTC) - timedelta(hours=1))
    assert len(claim()) == 1
    assert active(owner_id) == 2


def test_a_task_of_a_dead_worker_runs_again_until_its_attempts_are_used(
    submit: Submit, claim: Claim, owner_id: UserId, worker_id: int
) -> None:
    submit(max_attempts=2)
    claim()
    assert lifecycle.rescue(Task.objects.lost(Worker.objects.alive())) == set()
    Worker.objects.update(lease_until=Now() - timedelta(seconds=1))
    assert lifecycle.rescue(Task.objects.lost(Worker.objects.alive())) == {"default"}
    again = leases.take(concurrency=1, queues=[])
    (claimed,), _ = lifecycle.claim("default", {"sum": 1}, worker_id=again, process=1)
    assert claimed.attempt == 2
    Worker.objects.all().delete()
    assert lifecycle.rescue(Task.objects.lost(Worker.objects.alive())) == set()
    task = Task.objects.get()
    assert (task.status, task.error_code) == ("error", "worker_lost")
    assert active(owner_id) == 0


def test_only_the_tasks_of_dead_processes_are_taken(submit: Submit, claim: Claim) -> None:
    worker_id = leases.take(concurrency=2, queues=[])
    submit(), submit()
    for process in (1, 2):
        lifecycle.claim("default", {"sum": 1}, worker_id=worker_id, process=process)
    lifecycle.rescue(Task.objects.dropped_by(worker_id, alive=[2]))
    assert {task.process: task.status for task in Task.objects.all()} == {
        None: "pending",
        2: "in_progress",
    }


def test_progress_is_saved_only_by_the_current_attempt(submit: Submit, claim: Claim) -> None:
    submit()
    (claimed,) = claim()
    assert lifecycle.report(claimed, '{"current":1}') is AttemptState.CURRENT
    assert Task.objects.get().progress == {"current": 1}
    transitions.finish([completed(claimed)])
    assert lifecycle.report(claimed, '{"current":2}') is AttemptState.LOST
    assert Task.objects.get().progress == {"current": 1}


def test_a_checkpoint_is_kept_only_by_the_current_attempt(submit: Submit, claim: Claim) -> None:
    submit(max_attempts=2)
    (late,) = claim()
    assert lifecycle.keep_checkpoint(late, '{"step":1}')
    Worker.objects.update(lease_until=Now() - timedelta(seconds=1))
    lifecycle.rescue(Task.objects.lost(Worker.objects.alive()))
    again = leases.take(concurrency=1, queues=[])
    lifecycle.claim("default", {"sum": 1}, worker_id=again, process=1)
    assert not lifecycle.keep_checkpoint(late, '{"step":2}')
    assert Task.objects.get().checkpoint == {"step": 1}


def test_a_lost_attempt_stands_in_the_history(submit: Submit, claim: Claim) -> None:
    submit(max_attempts=2)
    claim()
    Worker.objects.update(lease_until=Now() - timedelta(seconds=1))
    lifecycle.rescue(Task.objects.lost(Worker.objects.alive()))
    (attempt,) = history.attempts(Task.objects.get())
    assert (attempt.number, attempt.error_code) == (1, "worker_lost")


def test_only_what_failed_or_was_cancelled_is_tried_again(submit: Submit, claim: Claim) -> None:
    submit()
    with pytest.raises(NotRetryable):
        lifecycle.retry(Task.objects.get())
    transitions.finish([completed(task) for task in claim()])
    with pytest.raises(NotRetryable):
        lifecycle.retry(Task.objects.get())
    assert Task.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_queue_with_ready_work_is_told_of_it(submit: Submit, notified: list[str]) -> None:
    submit(run_at=datetime.now(UTC) + timedelta(hours=1))
    assert notified == []
    submit()
    assert notified == ["default"]


def test_old_terminal_tasks_are_purged_and_no_others(submit: Submit, claim: Claim) -> None:
    submit(), submit()
    one, two = claim()
    transitions.finish([completed(one), completed(two)])
    submit()
    old = Now() - timedelta(days=8)
    Task.objects.filter(id=one.id).update(created_at=old, finished_at=old)
    assert deletion.purge(7) == (1, None)
    assert Task.objects.count() == 2


@pytest.mark.parametrize(
    "change",
    [
        {"ready": False},
        {"wake_at": Now()},
        {"worker_id": 1},
        {"status": "completed"},
        {"finished_at": Now()},
        {"status": "unknown"},
    ],
)
def test_the_database_itself_refuses_a_stuck_or_impossible_row(
    submit: Submit, change: dict[str, Any]
) -> None:
    submit()
    with pytest.raises(IntegrityError), transaction.atomic():
        Task.objects.update(**change)


def test_a_counter_never_falls_below_zero(submit: Submit, owner_id: UserId) -> None:
    lifecycle.open_quota(owner_id)
    with pytest.raises(IntegrityError), transaction.atomic():
        Quota.objects.update(active=-1)


def test_numbers_come_back_as_they_were_given(submit: Submit) -> None:
    numbers = [1, 1.0, 0.1, 9007199254740991, 1e-7, -3]
    submit(input_data={"numbers": numbers})
    kept = Task.objects.get().input_data["numbers"]
    assert kept == numbers
    assert list(map(type, kept)) == list(map(type, numbers))


def test_the_database_of_the_run_is_the_one_named() -> None:
    import os

    assert connection.vendor == os.environ.get("TEST_DB", "sqlite")


@pytest.mark.parametrize("dead", ["process", "worker"])
def test_a_suspended_task_whose_process_died_later_is_rescued(
    submit: Submit, claim: Claim, worker_id: int, dead: str
) -> None:
    task = submit()
    (first,) = claim()
    transitions.finish([suspended(first, datetime.now(UTC) - timedelta(minutes=1))])
    lifecycle.release_due()
    assert [again.id for again in claim(process=2)] == [task.id]
    lost = Task.objects.dropped_by(worker_id, [1])
    if dead == "worker":
        Worker.objects.update(lease_until=Now() - timedelta(seconds=1))
        lost = Task.objects.lost(Worker.objects.alive())
    assert lifecycle.rescue(lost) == {"default"}
    task.refresh_from_db()
    assert (task.status, task.ready) == ("pending", True)


def test_nothing_is_woken_before_its_time(submit: Submit, claim: Claim) -> None:
    task = submit()
    (claimed,) = claim()
    transitions.finish([suspended(claimed, datetime.now(UTC) + timedelta(hours=1))])
    for _ in range(50):  # a machine that stalls has proven nothing
        Task.objects.update(wake_at=Now() + timedelta(seconds=0.5))
        woken = lifecycle.release_due()
        if Task.objects.filter(id=task.id, wake_at__gt=Now()).exists():
            return
        assert not woken or Task.objects.filter(wake_at=None).exists()
        Task.objects.filter(ready=True).update(ready=False, wake_at=Now())
    pytest.fail("it was woken early each time")
