"""Races of real threads that use the API on the real database."""

import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from django.contrib.auth.base_user import AbstractBaseUser as User
from django.db import connection
from django.test import Client

from taskyard.core import lifecycle
from taskyard.core.models import IdempotencyKey, Quota, Task
from taskyard.core.states import Status
from taskyard.core.types import AttemptState, ClaimedTask, NewTask
from tests.api_client import ApiClient
from tests.fake_worker import FakeWorker

pytestmark = pytest.mark.django_db(transaction=True)

SUM = {"task_type": "sum", "input_data": {"numbers": [1]}}
RACES = 1000


def own_connection(call: Callable[[], Any]) -> Any:
    try:
        return call()
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("path", "body", "tasks"), [("tasks/", SUM, 1), ("tasks/bulk/", {"tasks": [SUM] * 5}, 5)]
)
def test_100_submits_at_once_with_one_key_are_one(
    api: ApiClient, path: str, body: Any, tasks: int
) -> None:
    together = Barrier(20)

    def submit(_number: int) -> Any:
        api_client = ApiClient(Client(raise_request_exception=False), api.access)

        def five() -> list[Any]:
            together.wait()
            return [api_client.post(path, body, Idempotency_Key="one") for _ in range(5)]

        return own_connection(five)

    with ThreadPoolExecutor(20) as pool:
        answers = [answer for five in pool.map(submit, range(20)) for answer in five]
    assert Counter(answer.status_code for answer in answers) == {201: 100}
    assert sum("Idempotency-Replayed" not in answer.headers for answer in answers) == 1
    assert len({answer.content for answer in answers}) == 1
    assert Task.objects.count() == Quota.objects.get().active == tasks
    assert IdempotencyKey.objects.count() == 1


def test_1000_cancels_against_finishes_end_once_and_as_answered(
    api: ApiClient, user: User, fake_worker: FakeWorker, figure: Any
) -> None:
    """The canceller and the worker start each race together, and the first commit wins.

    Every second task is claimed before its race, so that both ways to cancel have a race: of a
    task that no process holds, and of a running one. Some handlers stop when the task is
    cancelled, some do not, some raise Retry.
    """
    together = Barrier(2, timeout=30)
    raced: list[int] = []
    answers: list[tuple[int, str]] = []
    endings: list[list[Status]] = []

    def end(claimed: ClaimedTask, race: int) -> list[Status]:
        status = Status.COMPLETED
        if race % 3 and lifecycle.report(claimed, None) is AttemptState.CANCELLING:
            status = Status.CANCELLED
        elif race % 5 == 0:
            status = Status.PENDING
        return [status] if fake_worker.finish(claimed, status, error_code="x") else []

    def work() -> None:
        for race in range(RACES):
            raced.append(lifecycle.submit(user.pk, NewTask(**SUM, queue="default")).pk)
            early = fake_worker.claim() if race % 2 else []
            together.wait()
            time.sleep(race % 16 / 4000)  # the pauses cover the milliseconds of a cancel
            written: list[Status] = []
            for claimed in early or fake_worker.claim():
                written += end(claimed, race)
            together.wait()
            for claimed in fake_worker.claim():
                written += [Status.COMPLETED] * fake_worker.finish(claimed, Status.COMPLETED)
            endings.append(written)

    def cancel() -> None:
        for _race in range(RACES):
            together.wait()
            answer = api.post(f"tasks/{raced[-1]}/cancel/")
            answers.append((answer.status_code, answer.json().get("status", "")))
            together.wait()

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(own_connection, work), pool.submit(own_connection, cancel)]:
            done.result()

    tasks = Task.objects.in_bulk(raced)
    for task_id, (answer, shown), written in zip(raced, answers, endings, strict=True):
        task = tasks[task_id]
        terminal = [status for status in written if status != Status.PENDING]
        asked = task.cancel_requested_at is not None
        if answer == 200:  # cancelled at once: no attempt wrote an end after that
            assert (shown, task.status, terminal, asked) == ("cancelled", "cancelled", [], True)
        elif answer == 202:  # requested: the handler stopped, or completed before it noticed
            assert (shown, asked) == ("in_progress", True)
            # If the attempt raised Retry, there is no other attempt: the task is cancelled.
            assert [task.status] == (terminal or [Status.CANCELLED])
        else:
            assert (answer, task.status, asked) == (409, Status.COMPLETED, False)
            assert terminal == [Status.COMPLETED]
    assert Quota.objects.get(user=user).active == 0
    counted = Counter(answer for answer, _shown in answers)
    assert set(counted) == {200, 202, 409}
    figure("1,000 cancels against finishes, answered", dict(counted))
