"""Run in one transaction: what is quick is written once, and nothing of it is lost or doubled."""

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import pytest
from django.db import connection, transaction

from taskyard.core import lifecycle
from taskyard.core.models import Attempt, Quota, Task, Worker
from taskyard.core.querysets import TaskQuerySet
from taskyard.core.states import Priority, Status
from taskyard.core.types import AttemptResult, ClaimedTask, LossReason, UserId
from tests.fake_worker import run_in_transaction

Submit = Callable[..., Task]
QUICK = {"sum": 100, "countdown": 0}


def completing(locked: Sequence[ClaimedTask]) -> list[AttemptResult]:
    return [AttemptResult(task, Status.COMPLETED, b'{"result":6}') for task in locked]


@pytest.mark.django_db
def test_claim_and_end_are_one_write(submit: Submit, owner_id: UserId) -> None:
    submit()
    assert run_in_transaction("default", QUICK, completing) == (1, 1)
    task = Task.objects.get()
    assert (task.status, task.attempt, task.fence) == ("completed", 1, 1)
    assert task.result == {"result": 6}
    assert task.created_at <= task.started_at <= task.finished_at
    quota = Quota.objects.get(user_id=owner_id)
    assert (quota.active, quota.completed) == (0, 1)


@pytest.mark.django_db
def test_what_fails_is_tried_again_and_counted(submit: Submit, owner_id: UserId) -> None:
    submit()

    def failing(locked: Sequence[ClaimedTask]) -> list[AttemptResult]:
        wake_at = locked[0].claimed_at
        return [
            AttemptResult(locked[0], Status.PENDING, "null", "exception", "no", wake_at=wake_at)
        ]

    assert run_in_transaction("default", QUICK, failing) == (1, 1)
    task = Task.objects.get()
    assert (task.status, task.attempt, task.ready) == ("pending", 1, False)
    assert Attempt.objects.get().error_code == "exception"
    assert Quota.objects.get(user_id=owner_id).active == 1


@pytest.mark.django_db
def test_the_queue_stops_at_what_must_be_claimed(submit: Submit) -> None:
    first = submit()
    submit("countdown", input_data={"seconds": 1})
    submit()
    assert run_in_transaction("default", QUICK, completing) == (3, 1)
    assert Task.objects.get(status="completed").id == first.id
    assert run_in_transaction("default", QUICK, completing) == (2, 0)


@pytest.mark.django_db
def test_the_highest_priority_is_run_first_then_the_oldest(submit: Submit) -> None:
    low, old, young, high = (
        submit(priority=Priority.LOW),
        submit(),
        submit(),
        submit(priority=Priority.HIGH),
    )
    order = []
    for _ in range(4):
        run_in_transaction("default", QUICK, lambda locked: completing(locked[:1]))
        (ended,) = Task.objects.filter(status="completed").exclude(id__in=order)
        order.append(ended.id)
    assert order == [high.id, old.id, young.id, low.id]


@pytest.mark.django_db
def test_one_may_be_claimed_while_it_runs(submit: Submit, worker_id: int) -> None:
    first, second, third = submit(), submit(), submit()

    def run(locked: lifecycle.LockedTasks) -> list[AttemptResult]:
        locked.claim(locked[1], completing(locked[:1]), worker_id=worker_id, process=7)
        return []

    assert run_in_transaction("default", QUICK, run) == (3, 2)
    found = {task.id: task for task in Task.objects.all()}
    assert found[first.id].status == "completed"
    assert (found[second.id].status, found[second.id].attempt) == ("in_progress", 1)
    assert (found[second.id].worker_id, found[second.id].process) == (worker_id, 7)
    assert (found[third.id].ready, found[third.id].attempt) == (True, 0)


@pytest.mark.django_db
def test_what_may_run_but_once_is_claimed(submit: Submit) -> None:
    submit(max_attempts=1)
    assert run_in_transaction("default", QUICK, completing) == (1, 0)


@pytest.mark.django_db
def test_what_there_was_no_time_for_stays_as_it_was(submit: Submit) -> None:
    submit(), submit()
    ended = run_in_transaction("default", QUICK, lambda locked: completing(locked[:1]))
    assert ended == (2, 1)
    left = Task.objects.get(status="pending")
    assert (left.ready, left.attempt, left.fence) == (True, 0, 0)


@pytest.mark.django_db
def test_nothing_is_written_when_the_process_dies(submit: Submit) -> None:
    submit()

    class Killed(BaseException):
        pass

    def die(locked: Sequence[ClaimedTask]) -> list[AttemptResult]:
        raise Killed

    with suppress(Killed), transaction.atomic():
        run_in_transaction("default", QUICK, die)
    task = Task.objects.get()
    assert (task.status, task.ready, task.fence) == ("pending", True, 0)


def dropped(worker_id: int) -> TaskQuerySet:
    return Task.objects.dropped_by(worker_id, alive=[])


@pytest.mark.django_db
def test_a_death_is_owned_up_to_and_charged(submit: Submit, worker_id: int) -> None:
    task = submit(max_attempts=2)
    for attempt in (1, 2):
        lifecycle.claim_for_dead_process(task.id, attempt, worker_id=worker_id, process=7)
        lifecycle.rescue(dropped(worker_id), reason_of=lambda task: LossReason.LOST)
    task.refresh_from_db()
    assert (task.status, task.error_code, task.attempt) == ("error", "worker_lost", 2)


@pytest.mark.django_db
def test_only_a_task_that_ran_unclaimed_is_owned_up_to(submit: Submit, worker_id: int) -> None:
    task = submit()
    run_in_transaction("default", QUICK, completing)
    lifecycle.claim_for_dead_process(task.id, 1, worker_id=worker_id, process=7)
    other = submit()
    lifecycle.claim_for_dead_process(other.id, 2, worker_id=worker_id, process=7)
    assert not Task.objects.filter(worker_id__isnull=False).exists()


@pytest.mark.django_db
def test_a_death_is_charged_once_however_often_it_is_owned_up_to(
    submit: Submit, worker_id: int
) -> None:
    task = submit(max_attempts=3)
    for _ in range(2):  # a lock may keep it from being rescued in between
        assert lifecycle.claim_for_dead_process(task.id, 1, worker_id=worker_id, process=7)
    task.refresh_from_db()
    assert (task.attempt, task.process) == (1, 7)


@pytest.mark.django_db
def test_a_death_that_is_noticed_late_counts_too(submit: Submit, worker_id: int) -> None:
    task = submit(max_attempts=2)
    (again,), _ = lifecycle.claim("default", QUICK, worker_id=worker_id, process=8)
    assert lifecycle.claim_for_dead_process(
        task.id, again.fence, worker_id=worker_id, process=7, charged=False
    )
    task.refresh_from_db()
    assert (task.attempt, task.process) == (1, 8)
    for _ in range(2):  # never more than there may be
        assert lifecycle.claim_for_dead_process(
            task.id, again.fence, worker_id=worker_id, process=7
        )
    task.refresh_from_db()
    assert (task.attempt, task.process) == (2, 8)
    lifecycle.rescue(dropped(worker_id), reason_of=lambda task: LossReason.LOST)
    task.refresh_from_db()
    assert (task.status, task.error_code) == ("error", "worker_lost")


@pytest.mark.django_db(transaction=True)
def test_two_processes_never_run_the_same(submit: Submit, owner_id: UserId) -> None:
    Quota.objects.update_or_create(user_id=owner_id, defaults={"active_limit": 1000})
    for _ in range(300):
        submit()
    ran: list[int] = []
    start = threading.Barrier(4)

    def run(locked: Sequence[ClaimedTask]) -> list[AttemptResult]:
        ran.extend(task.id for task in locked)
        return completing(locked)

    def process() -> None:
        start.wait()
        while run_in_transaction("default", {"sum": 7}, run)[0]:
            pass
        connection.close()

    threads: list[Any] = [threading.Thread(target=process) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ran) == len(set(ran)) == 300
    quota = Quota.objects.get(user_id=owner_id)
    assert (quota.active, quota.completed) == (0, 300)
    assert not Worker.objects.exists()


@pytest.mark.django_db
def test_what_was_handed_back_is_claimed(submit: Submit, worker_id: int) -> None:
    task = submit()
    lifecycle.claim_for_dead_process(task.id, 1, worker_id=worker_id, process=7)
    lifecycle.rescue(dropped(worker_id), reason_of=lambda task: LossReason.UNCHARGED)
    assert run_in_transaction("default", QUICK, completing) == (1, 0)
    (claimed,), _ = lifecycle.claim("default", QUICK, worker_id=worker_id, process=8)
    assert claimed.attempt == 1
