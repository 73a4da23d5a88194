"""The same rules when many come at once: real threads on the real database."""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection

from taskyard.core import lifecycle, transitions
from taskyard.core.errors import ActiveLimitExceeded
from taskyard.core.models import Quota, Task
from taskyard.core.states import Status
from taskyard.core.types import AttemptResult
from tests.core.conftest import new_task
from tests.fake_worker import take_lease
from tests.people import new_user

pytestmark = pytest.mark.django_db(transaction=True)


def at_once(threads: int, call: Callable[[int], Any], calls: int) -> list[Any]:
    def run(number: int) -> Any:
        try:
            return call(number)
        finally:
            connection.close()

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(run, range(calls)))


def test_200_submits_by_10_users_accept_exactly_50() -> None:
    users = [new_user(f"user{n}").pk for n in range(10)]

    def submit(number: int) -> bool:
        try:
            lifecycle.submit(users[number % 10], new_task())
        except ActiveLimitExceeded:
            return False
        return True

    assert Counter(at_once(20, submit, 200)) == {True: 50, False: 150}
    assert list(Quota.objects.values_list("active", flat=True)) == [5] * 10
    assert Task.objects.count() == 50


def test_every_task_is_claimed_once_and_finished_once() -> None:
    users = [new_user(f"user{n}").pk for n in range(8)]
    for user in users:
        lifecycle.open_quota(user)
    Quota.objects.update(active_limit=100)
    for user in users:
        lifecycle.submit_all(user, [new_task()] * 50)
    worker_id = take_lease("default", concurrency=4)

    def drain(process: int) -> list[int]:
        mine = []
        while True:
            claimed, _ = lifecycle.claim(
                "default", {"sum": 7}, worker_id=worker_id, process=process
            )
            if not claimed:
                return mine
            endings = [
                AttemptResult(task=task, status=Status.COMPLETED, result="6") for task in claimed
            ]
            assert len(transitions.finish(endings)) == len(claimed)
            mine += [task.id for task in claimed]

    done = [task_id for mine in at_once(4, drain, 4) for task_id in mine]
    assert len(done) == len(set(done)) == 400
    assert list(Quota.objects.values_list("active", flat=True)) == [0] * 8
    assert set(Task.objects.values_list("fence", flat=True)) == {1}
