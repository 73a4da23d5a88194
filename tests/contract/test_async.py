"""Coroutine handlers run, are cancelled, time out and are suspended, and leave nothing running."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.contract.client import User
from tests.live_system import Live

pytestmark = pytest.mark.servers


@pytest.fixture
def user(live: Live) -> User:
    return User.register(live)


def result_of(user: User, does: str, **options: Any) -> dict[str, Any]:
    ended = user.wait(user.submit("async", {"does": does}, **options))
    assert ended["status"] == "completed", ended
    return dict(ended["result"])


def begun(user: User, task_id: int) -> None:
    while user.task(task_id)["status"] == "pending":
        time.sleep(0.02)


def test_a_coroutine_runs_and_each_has_the_context_to_itself(user: User) -> None:
    results = [result_of(user, "nothing") for _ in range(6)]
    assert {result["visits"] for result in results} == {1}
    assert len({result["loop"] for result in results}) <= 2, "one loop a process"


def test_it_uses_the_database(user: User) -> None:
    assert result_of(user, "database")["found"]
    assert result_of(user, "database")["found"]


def test_a_timeout_cancels_it(user: User) -> None:
    task = user.wait(user.submit("async", {"does": "hang"}, timeout=0.5))
    assert (task["status"], task["error"]["code"]) == ("error", "timeout")
    lines = user.http.get(f"/tasks/{task['id']}/logs/").json()["results"]
    assert [line["message"] for line in lines] == ["cleaned up"]


@pytest.mark.parametrize("task_type", ["async", "async-without-run"])
def test_a_cancel_cancels_it(user: User, task_type: str) -> None:
    given = {"does": "hang"} if task_type == "async" else {"seconds": 600}
    task_id = user.submit(task_type, given)
    begun(user, task_id)
    user.http.post(f"/tasks/{task_id}/cancel/")
    task = user.wait(task_id)
    assert task["status"] == "cancelled"
    lines = user.http.get(f"/tasks/{task_id}/logs/").json()["results"]
    assert [line["message"] for line in lines] == ["cleaned up"] * (task_type == "async")


def test_what_it_returns_though_it_was_stopped_counts(user: User) -> None:
    assert result_of(user, "swallow", timeout=0.5)["swallowed"]


@pytest.mark.parametrize("leaves", ["leave", "linger", "exit", "own-timeout"])
def test_what_it_leaves_on_the_loop_is_gone(user: User, leaves: str) -> None:
    for _ in range(2):
        user.wait(user.submit("async", {"does": leaves}, max_attempts=1))
    assert {result_of(user, "nothing")["tasks"] for _ in range(4)} == {3}


def test_it_sleeps_durably_from_a_group(user: User) -> None:
    began = time.monotonic()
    task = user.wait(user.submit("async-sleeps", {"seconds": 1}))
    assert (task["status"], task["result"], task["attempt"]) == ("completed", [0, 1], 1), task
    assert time.monotonic() - began >= 2


def test_a_hidden_coroutine_runs_too(user: User) -> None:
    assert user.wait(user.submit("hides-a-coroutine", {"seconds": 0.1}))["result"] == "slept"


def test_shared_tasks_belong_to_the_project(new_live: Callable[..., Live]) -> None:
    live = new_live(TASKYARD_TASK_TYPES="tests.task_types,tests.host_celery")
    user = User.register(live)
    task = user.wait(user.submit("uses-celery"))
    assert task["result"] == {"task": "host", "current": "host", "ready": False}, task
    assert user.wait(user.sum(1, 2))["result"] == {"result": 3}
