"""Attempts on a real database, in this process: what is written of them, and what is not."""

import ctypes
import gc
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from itertools import count
from typing import Any

import pytest
from django.db import connection

from taskyard.catalog.run import Cancelled, Run, TimedOut
from taskyard.core import lifecycle, transitions
from taskyard.core.models import Quota, Task, Worker
from taskyard.core.states import Status
from taskyard.core.types import AttemptResult, ClaimedTask, NewTask, UserId
from taskyard.worker import executor, identity
from taskyard.worker.handler_database import database
from taskyard.worker.reporter import Reporter
from taskyard.worker.timer import time_limit
from tests import task_types  # noqa: F401  # registers them
from tests.fake_worker import take_lease

pytestmark = pytest.mark.django_db(transaction=True)
CAPS = {"sum": 100, "keeps-and-fails": 1}
Claim = Callable[..., ClaimedTask]


@pytest.fixture
def claim(owner_id: UserId) -> Claim:
    """Submit a task and claim it; without a type, claim what waits."""
    worker_id = take_lease("default")

    def claim(task_type: str | None = None, **input_data: Any) -> ClaimedTask:
        if task_type:
            new = NewTask(task_type=task_type, queue="default", input_data=input_data)
            lifecycle.submit(owner_id, new)
        lifecycle.release_due()
        (claimed,), _ = lifecycle.claim("default", CAPS, worker_id=worker_id, process=1)
        return claimed

    return claim


def run_of(task: ClaimedTask) -> Run:
    reporter = Reporter(task)
    return Run(
        task_id=task.id,
        attempt=task.attempt,
        started_at=task.started_at,
        now=task.claimed_at,
        report=reporter.report,
        keep=reporter.keep,
    )


def test_a_checkpoint_outlives_a_failed_attempt(claim: Claim) -> None:
    task = claim("keeps-and-fails")
    for attempt in (1, 2):
        assert task.attempt == attempt
        transitions.finish([executor.execute(task)])
        task = claim()
    transitions.finish([executor.execute(task)])
    assert Task.objects.get().result == [1, 2, 3]


def test_an_attempt_that_is_not_current_keeps_nothing(claim: Claim) -> None:
    old = claim("sum", numbers=[1])
    lifecycle.rescue(Task.objects.all())
    new = claim()
    assert new.fence > old.fence
    lifecycle.keep_checkpoint(new, '"new"')
    lifecycle.report(new, '{"current": 2}')
    stale = run_of(old)
    with pytest.raises(Cancelled):
        stale.checkpoint = "old"
    assert stale.checkpoint is None
    stale._reported_at = -1.0
    with pytest.raises(Cancelled):
        stale.progress(1)
    task = Task.objects.get()
    assert (task.checkpoint, task.progress) == ("new", {"current": 2})


def test_an_ending_waits_for_the_database(claim: Claim, owner_id: UserId) -> None:
    """Without its table of quotas it is of no use, which is as far as a test may go."""
    task = claim("sum", numbers=[1, 2, 3])

    def rename(old: str, new: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE {old} RENAME TO {new}")

    def repair() -> None:
        time.sleep(1.5)
        rename("away", Quota._meta.db_table)
        connection.close()

    rename(Quota._meta.db_table, "away")
    repairing = threading.Thread(target=repair)
    repairing.start()
    executor._finish([AttemptResult(task, Status.COMPLETED, b'{"result":6}')])
    repairing.join()
    assert Task.objects.get().result == {"result": 6}
    assert Quota.objects.get(user_id=owner_id).active == 0


def work() -> None:
    """Work for longer than the alarm of a loaded machine is late."""
    until = time.monotonic() + 5
    while time.monotonic() < until:
        pass


def test_a_timeout_that_is_over_at_once_is_one() -> None:
    for _ in range(100):
        with pytest.raises(TimedOut), time_limit(1e-6):
            work()


def test_a_timeout_in_code_whose_exceptions_python_ignores_comes_after_it() -> None:
    """Python ignores what a callback of the garbage collector, or a ``__del__``, raises."""

    def collect_slowly(phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            time.sleep(0.3)

    def collect_and_work() -> None:
        gc.collect()
        work()

    gc.callbacks.append(collect_slowly)
    try:
        with pytest.raises(TimedOut), time_limit(0.1):
            collect_and_work()
    finally:
        gc.callbacks.remove(collect_slowly)


def test_an_alarm_that_another_thread_received_is_not_lost() -> None:
    """CPython tells the main thread of it only when that takes the interpreter's lock again."""
    # PyDLL keeps that lock, CDLL releases it. A set of signals has at most 128 bytes, a mutex 64.
    set_mask, locking = ctypes.PyDLL(None).pthread_sigmask, ctypes.CDLL(None)
    alarm = (1 << signal.SIGALRM - 1).to_bytes(128, sys.byteorder)
    mutex = ctypes.create_string_buffer(64)
    locking.pthread_mutex_lock(mutex)
    other = threading.Thread(target=locking.pthread_mutex_lock, args=[mutex])
    other.start()

    def work_unreachable_at_first() -> None:
        until = time.monotonic() + 0.1
        while time.monotonic() < until:
            pass
        set_mask(signal.SIG_UNBLOCK, alarm, None)
        work()

    try:
        set_mask(signal.SIG_BLOCK, alarm, None)
        with pytest.raises(TimedOut), time_limit(0.01):
            work_unreachable_at_first()
    finally:
        set_mask(signal.SIG_UNBLOCK, alarm, None)
        locking.pthread_mutex_unlock(mutex)
        other.join()


def test_a_timeout_that_came_as_its_block_ended_stops_no_later_one() -> None:
    # As if TimedOut had been raised before the block's end was noted.
    limits = [time_limit(60)]
    limits[0].__enter__()

    def next_handler() -> None:
        limits.clear()
        gc.collect()
        work()

    with pytest.raises(TimedOut), time_limit(2):
        next_handler()


@pytest.mark.skipif("connection.vendor == 'sqlite'", reason="SQLite locks no rows")
def test_what_is_handed_back_waits_for_a_lock(
    claim: Claim, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = claim("sum", numbers=[1])
    Task.objects.update(process=os.getpid())
    monkeypatch.setattr(identity, "worker_id", Worker.objects.get().pk)

    def release_waiters() -> None:
        time.sleep(1.5)
        other.rollback()

    with closing(connection.copy()) as other:
        other.set_autocommit(False)
        other.cursor().execute("SELECT FROM taskyard_task WHERE id = %s FOR UPDATE", [task.id])
        other.inc_thread_sharing()
        releasing = threading.Thread(target=release_waiters)
        releasing.start()
        executor._hand_back(Task.objects.all())
        releasing.join()
    assert Task.objects.get().ready


def test_a_timeout_leaves_nothing_torn(claim: Claim) -> None:
    """A thousand times in the middle of what Run writes."""
    task = claim("sum", numbers=[1])
    run = run_of(task)
    last = 0

    def write_on() -> None:
        for number in count(last + 1):
            run.checkpoint = {"number": number}
            run._reported_at = -1.0
            run.progress(number, total=10**9, message=str(number))
            run.log(str(number))

    for _ in range(1000):
        with pytest.raises(TimedOut), database.lent(), time_limit(random.uniform(0.0001, 0.003)):
            write_on()
        assert not connection.in_atomic_block
        kept = Task.objects.values_list("checkpoint", flat=True).get()
        said = run.checkpoint
        before, last = last, (kept or {"number": 0})["number"]
        # No durable checkpoint was lost; at most the last one was stopped before it was written.
        assert last >= before
        assert said == kept or said == {"number": last + 1}
    found = Task.objects.get()
    assert found.progress["message"] == str(found.progress["current"])
    assert transitions.finish([AttemptResult(task, Status.COMPLETED, b'{"result":1}')]) == {task.id}
