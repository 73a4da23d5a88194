"""System tasks have no owner: no quota counts them, and nothing of theirs waits for another."""

from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
from django.db import DEFAULT_DB_ALIAS, connection, connections, transaction
from django.test.utils import CaptureQueriesContext

from taskyard.core import bulk, deletion, durations, lifecycle, transitions
from taskyard.core.models import Quota, Task
from taskyard.core.states import Status
from taskyard.core.totals import totals
from taskyard.core.types import AttemptResult, ClaimedTask, LossReason, UserId
from tests.configured import configure
from tests.core.conftest import new_task

pytestmark = pytest.mark.django_db(transaction=True)
Claim = Callable[..., list[ClaimedTask]]


def system_task(**options: Any) -> Task:
    return lifecycle.submit(None, new_task(**options))


def finish(claim: Claim, status: Status = Status.COMPLETED, code: str = "") -> Task:
    (task,) = claim()
    transitions.finish([AttemptResult(task, status, b'{"result":6}', error_code=code)])
    return Task.objects.get(id=task.id)


def test_a_system_task_has_no_owner_and_takes_no_place(settings: Any) -> None:
    configure(settings, ACTIVE_LIMIT=1, SUBMIT_RATE="1/day", BYTES_PER_USER=1)
    first, *_ = [system_task() for _ in range(3)]
    ids = lifecycle.submit_all(None, [new_task(), new_task()])
    assert Task.objects.get(id=first.id).owner_id is None
    assert ids == sorted(ids)
    assert Task.objects.active().count() == 5
    assert not Quota.objects.exists()


def test_a_submit_touches_the_tasks_only() -> None:
    with CaptureQueriesContext(
        connection,
    ) as queries:
        system_task()
    text = " ".join(query["sql"] for query in queries)
    assert "taskyard_quota" not in text
    assert "password" not in text


def test_an_end_releases_nothing(claim: Claim) -> None:
    system_task()
    task = finish(claim)
    assert (task.status, task.result, task.owner_id) == (Status.COMPLETED, {"result": 6}, None)
    assert not Quota.objects.exists()


def test_tasks_with_and_without_owner_end_together(
    submit: Callable[..., Task], claim: Claim, owner_id: Any
) -> None:
    owned, system = submit(), system_task()
    results = [AttemptResult(task, Status.COMPLETED, b"{}") for task in claim()]
    assert transitions.finish(results) == {owned.id, system.id}
    quota = Quota.objects.get()
    assert (quota.user_id, quota.active, quota.completed) == (owner_id, 0, 1)


def test_the_fast_path_runs_them() -> None:
    task = system_task()
    with lifecycle.lock_ready("default", {"sum": 10}) as locked:
        locked.finish_unclaimed([AttemptResult(one, Status.COMPLETED, b"{}") for one in locked])
    assert Task.objects.get(id=task.id).status == Status.COMPLETED


def test_cancel_retry_and_delete(claim: Claim) -> None:
    task = lifecycle.cancel(system_task().id, by_id=None)
    assert task.status == Status.CANCELLED
    again = lifecycle.retry(task)
    assert (again.owner_id, again.retry_of_id) == (None, task.id)
    deletion.delete(task)
    assert list(Task.objects.values_list("id", "retry_of")) == [(again.id, None)]


def test_many_are_cancelled_and_retried() -> None:
    for _ in range(3):
        system_task()
    assert bulk.cancel(Task.objects.all(), by_id=None, seconds=5) == 3
    assert bulk.retry(Task.objects.all(), seconds=5) == 3
    assert Task.objects.active().count() == 3


def test_a_lost_attempt_runs_again_and_then_ends(claim: Claim) -> None:
    task = system_task(max_attempts=2)
    for _ in range(2):
        claim()
        lifecycle.rescue(Task.objects.filter(worker__isnull=False), lambda _: LossReason.LOST)
    task.refresh_from_db()
    assert (task.status, task.error_code, task.attempt) == (Status.ERROR, "worker_lost", 2)


def test_old_ones_are_purged(claim: Claim) -> None:
    system_task()
    task = finish(claim)
    Task.objects.update(created_at=task.created_at.replace(year=2020))
    Task.objects.update(finished_at=task.created_at.replace(year=2020))
    assert deletion.purge(1) == (1, None)
    assert not Task.objects.exists()


def test_nobody_owns_them_also_not_a_user_without_an_id() -> None:
    task = system_task()
    assert not Task.objects.owned_by(None).exists()
    assert Task.objects.get_owned(None, task.id) is None


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has one writer at a time")
def test_a_long_transaction_with_submits_blocks_no_submit_and_no_worker(
    claim: Claim, owner_id: UserId
) -> None:
    lifecycle.open_quota(owner_id)
    with closing(connection.copy()) as other, other.cursor() as cursor:
        cursor.execute("SELECT set_config('lock_timeout', '200ms', false)")
        with transaction.atomic():
            hidden = [system_task().id for _ in range(20)]
            connections[DEFAULT_DB_ALIAS], ours = other, connections[DEFAULT_DB_ALIAS]
            try:
                seen = {system_task().id, lifecycle.submit(owner_id, new_task()).id}
                held = claim()
                assert {task.id for task in held} == seen
                results = [AttemptResult(task, Status.COMPLETED, b"{}") for task in held]
                assert transitions.finish(results) == seen
                lifecycle.cancel(system_task().id, by_id=None)
            finally:
                connections[DEFAULT_DB_ALIAS] = ours
    assert {task.id for task in claim()} == set(hidden)


def test_they_are_counted_apart(claim: Claim, submit: Callable[..., Task]) -> None:
    durations.count()
    before = totals()
    system_task()
    system_task(task_type="countdown")
    submit()
    results = [AttemptResult(task, Status.COMPLETED, b"{}") for task in claim()]
    transitions.finish(results)
    counted_before = sum(each.buckets[-1][1] for each in durations.histograms("run"))
    durations.count()
    after = totals()
    assert after.system_ended["completed"] == before.system_ended["completed"] + 2
    assert after.ended["completed"] == before.ended["completed"] + 1
    assert after.created == before.created + 1
    assert sum(each.buckets[-1][1] for each in durations.histograms("run")) == counted_before + 3
    deletion.purge(0)
    durations.count()
    assert totals().system_ended == after.system_ended


def test_one_and_many_are_inserted_alike() -> None:
    options = {"tags": ("a", "ж"), "priority": 2, "max_attempts": 7, "timeout_seconds": 1.5}
    options["input_data"] = {"text": 'ж"\\', "n": 2**70, "none": None, "f": 1e21}
    one = lifecycle.submit(None, new_task(**options))
    lifecycle.submit_all(None, [new_task(**options)] * 2)
    left_out = {"id", "created_at", "changed"}
    first, *others = [
        {name: value for name, value in row.items() if name not in left_out}
        for row in Task.objects.order_by("id").values()
    ]
    assert others == [first, first]
    kept = Task.objects.get(id=one.id)
    assert (one.created_at, one.tags, one.ready) == (kept.created_at, kept.tags, kept.ready)
