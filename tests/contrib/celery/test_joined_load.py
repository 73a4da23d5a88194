"""A joined worker under load and under SIGKILLs: nothing is lost, and the host's tasks do not wait.

The ratio of two latencies on a busy machine is a measurement, so the test prints it and only
refuses what cannot be noise.
"""

import random
import time
from collections.abc import Callable
from contextlib import suppress
from statistics import quantiles
from typing import Any

import psutil
import pytest

from tests.contract.client import User
from tests.contrib.celery.shop_workers import Shop, family, joined, until
from tests.live_system import Live

pytestmark = pytest.mark.servers
TASKS = 1000
ROUNDS = 4
INTERVAL_SECONDS = 0.025
KILLS = 16


def latencies(shop: Shop, user: User, *, ours: int) -> list[float]:
    """The milliseconds that each of the host's tasks waited, beside so many tasks of ours."""
    shop.forget()
    worker = shop.start_worker(joins=1 if ours else 0)
    shop.pack(0)
    until(shop.packed)
    if ours:
        assert user.wait(user.sum(1))["status"] == "completed"
        submit(user, ours)
    for number in range(1, TASKS // ROUNDS * 2 + 1):
        shop.pack(number)
        time.sleep(INTERVAL_SECONDS)
    until(lambda: len(shop.packed()) > TASKS // ROUNDS * 2)
    waited = [milliseconds for number, milliseconds in shop.packed().items() if number != "0"]
    if ours:
        until(lambda: unfinished(user) == 0)
    worker.terminate()
    worker.wait(timeout=60)
    return waited


def submit(user: User, count: int) -> None:
    """Tasks that hold a process for 20 ms each."""
    tasks = [{"task_type": "busy", "input_data": {"seconds": 0.02}}] * count
    assert user.http.post("/tasks/bulk/", json={"tasks": tasks}).status_code == 201


def unfinished(user: User) -> int:
    found = user.http.get("/tasks/", params={"status": "pending,in_progress"}).json()
    return int(found["count"])


def test_the_hosts_tasks_do_not_wait_for_ours(
    new_live: Callable[..., Live], figure: Callable[[str, Any], None]
) -> None:
    live = new_live(TASKYARD_ACTIVE_LIMIT="5000")
    live.stop_worker()
    user = User.register(live)
    alone: list[float] = []
    beside: list[float] = []
    with Shop(live) as shop:
        for _ in range(ROUNDS // 2):
            alone += latencies(shop, user, ours=0)
            beside += latencies(shop, user, ours=TASKS // ROUNDS * 2)
    (p50, p99), (p50_beside, p99_beside) = (
        (cuts[49], cuts[98]) for cuts in (quantiles(alone, n=100), quantiles(beside, n=100))
    )
    figure("own tasks alone, p50 and p99, ms", f"{p50:.1f} {p99:.1f}")
    figure("own tasks beside ours, p50 and p99, ms", f"{p50_beside:.1f} {p99_beside:.1f}")
    figure("p99 beside ours ÷ alone", f"{p99_beside / p99:.2f}")
    assert p99_beside < 3 * p99 + 20


def kill(victim: str, worker: psutil.Popen, chosen: random.Random) -> None:
    """SIGKILL one process; NoSuchProcess if there is none."""
    if victim == "their worker":
        worker.kill()
        return
    *ours, our_worker = family(joined(worker))
    if victim == "our worker":
        our_worker.kill()
        return
    theirs = [child for child in worker.children() if child not in (*ours, our_worker)]
    among = ours if victim == "ours" else theirs
    if not among:
        raise psutil.NoSuchProcess(0)
    chosen.choice(among).kill()


def test_nothing_is_lost_when_processes_are_killed(
    new_live: Callable[..., Live], figure: Callable[[str, Any], None]
) -> None:
    live = new_live(TASKYARD_ACTIVE_LIMIT="5000")
    live.stop_worker()
    user = User.register(live)
    chosen = random.Random(7)
    kills = {"theirs": 0, "ours": 0, "our worker": 0, "their worker": 0}
    with Shop(live) as shop:
        worker = shop.start_worker()
        joined(worker)
        submit(user, TASKS)
        for number in range(TASKS):
            shop.pack(number, seconds=0.01)
        until(lambda: len(shop.packed()) > 10)
        deadline = time.monotonic() + 300
        while len(shop.packed()) < TASKS or unfinished(user):
            assert time.monotonic() < deadline, (len(shop.packed()), unfinished(user), kills)
            time.sleep(1)
            if worker.poll() is not None:  # Celery leaves if a process dies while it starts
                worker = shop.start_worker()
            if sum(kills.values()) < KILLS:
                with suppress(psutil.NoSuchProcess):
                    victim = list(kills)[sum(kills.values()) % len(kills)]
                    kill(victim, worker, chosen)
                    kills[victim] += 1
    found = user.http.get("/tasks/", params={"status": "completed"}).json()["count"]
    figure("SIGKILLs", kills)
    figure("own tasks and ours, of 1,000 each, that ended", f"{TASKS} {found}")
    assert found == TASKS
