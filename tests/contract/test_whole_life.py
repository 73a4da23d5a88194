"""Tasks on a live system: cancel, timeouts, poison tasks, progress, logs, drain."""

import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.contract.client import User
from tests.contract.test_faults import Figure, children
from tests.live_system import Live

pytestmark = pytest.mark.servers
OTHERS = {"numbers": [1, 2, 3]}


def started(user: User, task_type: str, input_data: Any = None, **options: Any) -> int:
    """Submit, and wait until it runs."""
    task_id = user.submit(task_type, input_data, **options)
    deadline = time.monotonic() + 10
    while user.task(task_id)["status"] == "pending":
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return task_id


def cancel(user: User, task_id: int) -> int:
    return user.http.post(f"/tasks/{task_id}/cancel/").status_code


def last_attempt(user: User, task_id: int) -> dict[str, Any]:
    found: dict[str, Any] = user.http.get(f"/tasks/{task_id}/attempts/").json()["results"][-1]
    return found


def test_a_suspended_task_is_cancelled_at_once(live: Live) -> None:
    user = User.register(live)
    task_id = started(user, "countdown", {"seconds": 60})
    time.sleep(0.3)
    assert cancel(user, task_id) == 200
    task = user.task(task_id)
    assert (task["status"], task["status_label"]) == ("cancelled", "Отменено")
    assert cancel(user, task_id) == 200
    assert user.http.get("/limits/").json()["active"] == 0


def test_a_task_that_looks_up_stops_when_asked(live: Live, figure: Figure) -> None:
    user = User.register(live)
    task_id = started(user, "cooperates", {"seconds": 60.0})
    asked = time.monotonic()
    assert cancel(user, task_id) == 202
    assert user.wait(task_id)["status"] == "cancelled"
    figure("cancel of a running task that looks up", f"{time.monotonic() - asked:.1f} s")
    assert last_attempt(user, task_id)["error"]["code"] == "cancelled_by_handler"


def test_a_task_that_does_not_stop_loses_its_process(live: Live, figure: Figure) -> None:
    user = User.register(live)
    before = set(children(live.workers[0].pid))
    task_id = started(user, "spins", {"seconds": 60.0})
    asked = time.monotonic()
    assert cancel(user, task_id) == 202
    assert user.wait(task_id)["status"] == "cancelled"
    figure("cancel of a running task that ignores it", f"{time.monotonic() - asked:.1f} s")
    assert last_attempt(user, task_id)["error"]["code"] == "cancelled_by_kill"
    time.sleep(1)
    after = set(children(live.workers[0].pid))
    assert len(after) == len(before)
    assert after != before
    assert user.wait(user.submit("sum", OTHERS))["result"] == {"result": 6}


def test_a_cancel_survives_a_full_outage_of_the_workers(new_live: Callable[..., Live]) -> None:
    live = new_live(TASKYARD_LEASE_SECONDS="3")
    user = User.register(live)
    task_id = started(user, "spins", {"seconds": 60.0})
    live.kill_worker()
    assert cancel(user, task_id) == 202
    live.start_worker()
    assert user.wait(task_id)["status"] == "cancelled"


def test_a_completion_that_came_first_wins(live: Live) -> None:
    user = User.register(live)
    task_id = user.submit("sum", OTHERS)
    assert user.wait(task_id)["status"] == "completed"
    assert cancel(user, task_id) == 409
    assert user.task(task_id)["status"] == "completed"


@pytest.mark.parametrize("task_type", ["spins", "holds-the-gil"])
def test_a_task_over_its_time_is_ended(live: Live, figure: Figure, task_type: str) -> None:
    user = User.register(live)
    input_data = {"seconds": 60.0} if task_type == "spins" else {}
    begun = time.monotonic()
    task_id = user.submit(task_type, input_data, timeout=1)
    task = user.wait(task_id)
    figure(f"timeout of 1 s on {task_type}", f"{time.monotonic() - begun:.1f} s")
    assert (task["status"], task["error"]["code"]) == ("error", "timeout")
    assert user.wait(user.submit("sum", OTHERS))["status"] == "completed"


@pytest.mark.parametrize(
    ("task_type", "code"),
    [
        ("exits", "exception"),
        ("runs-out-of-memory", "exception"),
        ("segfaults", "worker_lost"),
        ("returns-a-lie", "result_invalid"),
    ],
)
def test_a_poison_ends_in_error_and_harms_no_other(live: Live, task_type: str, code: str) -> None:
    user = User.register(live)
    poison = user.submit(task_type)
    good = user.submit("sum", OTHERS)
    assert user.wait(good)["status"] == "completed"
    task = user.wait(poison)
    assert (task["status"], task["error"]["code"]) == ("error", code)
    assert task["result"] == {"error": task["error"]["message"]}


def test_a_failed_attempt_is_tried_again_and_kept(live: Live) -> None:
    user = User.register(live)
    task = user.wait(user.submit("raises", {"message": "no"}))
    assert task["error"] == {"code": "exception", "message": "ValueError: no 2", "attempt": 2}
    attempts = user.http.get(f"/tasks/{task['id']}/attempts/").json()["results"]
    assert [attempt["error"]["message"] for attempt in attempts] == [
        "ValueError: no 1",
        "ValueError: no 2",
    ]


def test_a_result_too_large_is_an_error_not_a_lost_result(live: Live) -> None:
    user = User.register(live)
    task = user.wait(user.submit("returns-much", {"size": 2_000_000}))
    assert task["error"]["code"] == "result_too_large"


def test_a_handler_that_says_too_much_costs_little_and_the_gap_is_marked(
    live: Live, figure: Figure
) -> None:
    user = User.register(live)
    begun = time.monotonic()
    task = user.wait(user.submit("says-much", {"times": 300_000}), seconds=60)
    assert task["status"] == "completed"
    assert task["progress"]["current"] == 300_000  # 100 %, as for every completed task
    logs = user.http.get(f"/tasks/{task['id']}/logs/?page_size=1000").json()["results"]
    assert len(logs) + sum(line["dropped"] for line in logs) == 300_000
    assert len(logs) <= 1000
    figure("300,000 calls of progress and log", f"{time.monotonic() - begun:.1f} s")


def test_a_report_in_three_steps_survives_a_kill_after_each(live: Live) -> None:
    user = User.register(live)
    steps = ["fetch", "compute", "publish"]
    task = user.wait(user.submit("report", {"die_after": steps}))
    assert task["result"] == {"done": steps, "died": steps}
    assert task["attempt"] == 4
    lines = user.http.get(f"/tasks/{task['id']}/logs/").json()["results"]
    assert [line["message"].split()[0] for line in lines if line["message"]] == steps


def test_a_deploy_loses_nothing_and_charges_nothing(
    new_live: Callable[..., Live], figure: Figure
) -> None:
    live = new_live(TASKYARD_ACTIVE_LIMIT="3000")
    users = [User.register(live) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:

        def submit(number: int) -> tuple[int, User]:
            user = users[number % 4]
            if number % 20 == 0:
                return user.submit("busy", {"seconds": 0.5}), user
            if number % 20 == 1:
                return user.submit("countdown", {"seconds": 3}), user
            return user.sum(number), user

        accepted = pool.map(submit, range(2000))
        # In this thread, because processes that a thread starts end with that thread.
        for _ in range(3):
            live.start_worker()
            time.sleep(2)
            live.stop_worker()
        ids = dict(accepted)
    ended = [user.wait(task_id, seconds=30) for task_id, user in ids.items()]
    assert Counter(task["status"] for task in ended) == {"completed": 2000}
    assert Counter(task["attempt"] for task in ended) == {1: 2000}
    figure("rolling restarts during 2,000 tasks", "0 lost, 0 failed, 0 attempts charged")


def test_what_outlasts_the_drain_is_handed_back_uncharged(
    new_live: Callable[..., Live], figure: Figure
) -> None:
    live = new_live(TASKYARD_DRAIN_SECONDS="2")
    user = User.register(live)
    task_id = started(user, "busy", {"seconds": 8.0})
    begun = time.monotonic()
    worker = live.workers[0]
    os.kill(worker.pid, signal.SIGTERM)
    worker.wait(timeout=20)
    live.workers.remove(worker)
    figure("drain of 2 s with a task of 8 s: exit after", f"{time.monotonic() - begun:.1f} s")
    task = user.task(task_id)
    assert (task["status"], task["attempt"]) == ("pending", 1)
    live.start_worker()
    task = user.wait(task_id)
    assert (task["status"], task["attempt"]) == ("completed", 1)
