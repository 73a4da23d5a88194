"""If processes die, no accepted task is lost and each task has one result."""

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import pytest
import redis

from taskyard.worker.watchdog import NOT_CONSUMING_SECONDS
from tests.contract.client import User
from tests.live_system import Live

pytestmark = pytest.mark.servers
Figure = Callable[[str, str], None]
OVER = {"message": "Обратный отсчёт завершён"}


def children(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in found]


def kill_something(live: Live) -> None:
    """SIGKILL a random process of the worker: one child, or the whole worker (then restart it)."""
    worker = live.workers[0]
    victims = children(worker.pid)
    if victims and random.random() < 0.5:
        os.kill(random.choice(victims), signal.SIGKILL)
    else:
        live.kill_worker(worker)
        live.start_worker()


def test_200_submits_at_once_by_10_users(live: Live) -> None:
    users = [User.register(live) for _ in range(10)]
    blocked = {"seconds": 30}
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda n: users[n % 10].create("countdown", blocked), range(200)))
    assert Counter(answer.status_code for answer in answers) == {201: 50, 400: 150}
    assert {answer.json()["detail"] for answer in answers if answer.status_code == 400} == {
        "Вы не можете создать более 5 активных задач."
    }
    assert [user.http.get("/limits/").json()["active"] for user in users] == [5] * 10


def test_workers_killed_at_random_lose_nothing(
    new_live: Callable[..., Live], figure: Figure
) -> None:
    live = new_live(TASKYARD_ACTIVE_LIMIT="100", TASKYARD_LEASE_SECONDS="5")
    user = User.register(live)
    started = time.monotonic()
    sums = {user.sum(number, number): 2 * number for number in range(25)}
    countdowns = [user.submit("countdown", {"seconds": 8}) for _ in range(20)]
    for _ in range(6):
        time.sleep(random.uniform(0.3, 1.2))
        kill_something(live)
        sums |= {user.sum(number, 1): number + 1 for number in range(5)}
    ended = user.wait_for_all([*sums, *countdowns], seconds=60)
    assert Counter(task["status"] for task in ended.values()) == {"completed": 75}
    assert {task_id: ended[task_id]["result"]["result"] for task_id in sums} == sums
    assert all(ended[task_id]["result"] == OVER for task_id in countdowns)
    lateness = [
        (_time(ended[task_id]["finished_at"]) - _time(ended[task_id]["started_at"])) - 8
        for task_id in countdowns
    ]
    assert min(lateness) >= 0
    figure("SIGKILL at random: countdowns late by at most", f"{max(lateness):.1f} s")
    figure("SIGKILL at random: 55 sums and 20 countdowns", f"{time.monotonic() - started:.0f} s")


def test_a_task_that_kills_its_process_ends_in_error_and_harms_no_other(live: Live) -> None:
    user = User.register(live)
    poison = user.submit("dies")
    good = [user.sum(1, number) for number in range(3)]
    assert [user.wait(task_id)["status"] for task_id in good] == ["completed"] * 3
    ended = user.wait(poison)
    assert (ended["status"], ended["error"]["code"]) == ("error", "worker_lost")
    assert ended["attempt"] == 2


def test_an_emptied_broker_loses_nothing(new_live: Callable[..., Live], figure: Figure) -> None:
    live = new_live(TASKYARD_ACTIVE_LIMIT="200")
    user = User.register(live)
    live.stop_worker()
    ids = [user.sum(number) for number in range(100)]
    with redis.Redis.from_url(live.redis_url) as broker:
        broker.flushall()
    started = time.monotonic()
    live.start_worker()
    ended = user.wait_for_all(ids, seconds=20)
    assert {task["status"] for task in ended.values()} == {"completed"}
    figure("FLUSHALL with 100 pending: all completed", f"{time.monotonic() - started:.1f} s")


def test_a_worker_that_is_deaf_leaves_and_its_successor_hears(
    new_live: Callable[..., Live], figure: Figure
) -> None:
    live = new_live()
    user = User.register(live)
    # Celery itself gets into this state after some reconnects.
    with live.celery() as celery:
        started = time.monotonic()
        while not celery.control.cancel_consumer("default", reply=True, timeout=1):
            assert time.monotonic() < started + 40, "nobody was told to be deaf"
    started = time.monotonic()
    task_id = user.sum(1, 2)
    while not live.replace_those_that_left():
        assert time.monotonic() < started + 40, "it stayed"
        time.sleep(0.1)
    figure("a deaf worker leaves after", f"{time.monotonic() - started:.1f} s")
    assert user.wait(task_id)["result"] == {"result": 3}


def test_a_worker_of_one_process_takes_every_bell_that_stands(
    new_live: Callable[..., Live],
) -> None:
    live = new_live(TASKYARD_CONCURRENCY="1")
    user = User.register(live)
    assert user.wait(user.sum(1))["status"] == "completed"
    with live.celery() as celery:
        for _ in range(6):
            celery.send_task("taskyard.wake_up", args=("default",), queue="default")
    until = time.monotonic() + NOT_CONSUMING_SECONDS
    while live.messages():
        assert time.monotonic() < until, "it would be taken for deaf"
        time.sleep(0.1)
    assert user.wait(user.sum(1, 2))["result"] == {"result": 3}


def test_a_queue_that_is_paused_makes_nobody_leave(new_live: Callable[..., Live]) -> None:
    live = new_live()
    user = User.register(live)
    live.command(
        *("manage", "shell", "--no-imports", "-c"),
        "from taskyard.core import queues; queues.pause('default', by_id=None)",
    )
    task_id = user.sum(1, 2)
    until = time.monotonic() + NOT_CONSUMING_SECONDS + 5
    while time.monotonic() < until:
        assert not live.replace_those_that_left()
        time.sleep(0.5)
    assert user.task(task_id)["status"] == "pending"


def test_a_stopped_broker_stops_no_submit(new_live: Callable[..., Live], figure: Figure) -> None:
    live = new_live(TASKYARD_ACTIVE_LIMIT="200")
    user = User.register(live)
    assert user.wait(user.sum(1))["status"] == "completed"
    live.stop_broker()
    slowest, ids = 0.0, []
    for number in range(50):
        started = time.monotonic()
        ids.append(user.sum(number))
        slowest = max(slowest, time.monotonic() - started)
        time.sleep(0.05)
    figure("broker stopped: slowest of 50 submits", f"{slowest * 1000:.0f} ms")
    live.start_broker()
    started = time.monotonic()
    ended = user.wait_for_all(ids, seconds=40)
    assert {task["status"] for task in ended.values()} == {"completed"}
    figure("broker back: 50 completed after", f"{time.monotonic() - started:.1f} s")
    assert slowest < 1.5


def test_500_countdowns_hold_no_worker(new_live: Callable[..., Live], figure: Figure) -> None:
    live = new_live(TASKYARD_ACTIVE_LIMIT="1000")
    users = [User.register(live) for _ in range(4)]
    countdowns = {"tasks": [{"task_type": "countdown", "input_data": {"seconds": 5}}] * 125}
    started = time.monotonic()
    ids = [user.http.post("/tasks/bulk/", json=countdowns).json()["ids"] for user in users]
    assert users[0].wait(users[0].sum(1, 1), seconds=5)["result"] == {"result": 2}
    while any(user.http.get("/limits/").json()["active"] for user in users):
        assert time.monotonic() < started + 30
        time.sleep(0.1)
    figure(
        "500 countdowns of 5 s on two processes: all done", f"{time.monotonic() - started:.1f} s"
    )
    for mine, user in zip(ids, users, strict=True):
        assert all(user.task(task_id)["result"] == OVER for task_id in mine)


def test_from_create_to_completed(live: Live, figure: Figure) -> None:
    user = User.register(live)
    taken = []
    for number in range(40):
        started = time.perf_counter()
        user.wait(user.sum(number), pause=0.001)
        taken.append((time.perf_counter() - started) * 1000)
    taken.sort()
    figure("create to completed, polled", f"p50 {taken[20]:.0f} ms, max {taken[-1]:.0f} ms")


def _time(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
