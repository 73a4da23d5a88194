"""Measure how users share a queue: `python -m benchmarks.crowds [--only shares] [--seconds 60]`.

A live system on the database that TEST_DB names, with one worker. The tasks sleep, so users share
the worker's processes and not the machine's processors. `newcomer`: how long the task of one user
waits behind 60, and behind 10,000, of another. `shares`: ten users fill the queue with tasks of 0.1
to 1.0 s, and three with weights of 1, 2 and 4. `light`: the worst wait of a user with a short task
now and then, beside 1, 10 and 100 who have filled the queue, and in the ideal of the simulation.
"""

import argparse
import random
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from benchmarks.fair_simulation import Ideal, jain, simulate, with_light
from benchmarks.system import running
from tests.contract.client import User
from tests.live_system import Live

PROCESSES = 8
TYPES = {"TASKYARD_TASK_TYPES": "benchmarks.task_types"}
SHORT, EVERY = 0.1, 1.7
SET_WEIGHT = """
from taskyard.accounts.models import User
from taskyard.core import quotas
quotas.change_weight(User.objects.get(username="{name}").pk, {weight}, by_id=None)
"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.crowds", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=MEASURES, default=list(MEASURES))
    parser.add_argument("--seconds", type=int, default=60)
    given = parser.parse_args()
    for name in given.only:
        MEASURES[name](given.seconds)


def newcomer(seconds: int) -> None:
    for count in (60, 10_000):
        with running(**TYPES, TASKYARD_CONCURRENCY="2") as live:
            first, second = User.register(live), User.register(live)
            fill(first, [0.5] * count)
            time.sleep(2)
            waits = [wait_of(second.wait(submit_short(second))) for _ in range(5)]
        print(
            f"behind {count:,} tasks of 0.5 s of another user, two processes: begun after "
            f"{max(waits):.2f} s, the longest of {len(waits)}",
            flush=True,
        )


def shares(seconds: int) -> None:
    used = saturated([0.1 * number for number in range(1, 11)], [1.0] * 10, seconds)
    print(f"10 users with tasks of 0.1 to 1.0 s, {seconds} s: Jain's index {jain(used):.4f}")
    weights = [1.0, 2.0, 4.0]
    used = saturated([0.5, 0.2, 1.0], weights, seconds)
    wanted = [sum(used) * weight / sum(weights) for weight in weights]
    parts = ", ".join(f"{has / wants:.3f}" for has, wants in zip(used, wanted, strict=True))
    print(f"weights 1:2:4, {seconds} s: the shares against those wanted: {parts}", flush=True)


def saturated(lengths: list[float], weights: list[float], seconds: int) -> list[float]:
    """The seconds that users got whose tasks, of these lengths, fill the queue."""
    with running(**TYPES, TASKYARD_CONCURRENCY=str(PROCESSES)) as live:
        users = [User.register(live) for _ in lengths]
        for user, weight in zip(users, weights, strict=True):
            if weight != 1:
                set_weight(live, user, weight)
        for user, length in zip(users, lengths, strict=True):
            fill(user, [length] * round(PROCESSES * seconds / length))
        began = time.time() + 2
        time.sleep(seconds + 2)
        return [seconds_of(user, began, began + seconds) for user in users]


def light(seconds: int) -> None:
    for heavy in (1, 10, 100):
        with running(**TYPES, TASKYARD_CONCURRENCY=str(PROCESSES)) as live:
            chance = random.Random(heavy)
            users = [User.register(live) for _ in range(heavy)]
            for user in users:
                many = 2 * PROCESSES * seconds // heavy
                fill(user, [chance.uniform(0.5, 1.5) for _ in range(many)])
            small = User.register(live)
            ids = []
            for _ in range(int(seconds / EVERY)):
                time.sleep(EVERY)
                ids.append(submit_short(small))
            worst = max(wait_of(small.wait(task_id, seconds=120)) for task_id in ids)
        jobs = with_light(heavy, 2 * PROCESSES * seconds, until=seconds, every=EVERY)
        ideal = simulate(Ideal({}), jobs, until=seconds).worst_wait[-1]
        print(
            f"a short task every {EVERY} s beside {heavy} users: waited {worst:.2f} s at most, "
            f"in the ideal {ideal:.2f} s",
            flush=True,
        )


def fill(user: User, lengths: list[float]) -> None:
    bodies = [{"task_type": "busy", "input_data": {"seconds": length}} for length in lengths]
    for first in range(0, len(bodies), 1000):
        answer = user.http.post("/tasks/bulk/", json={"tasks": bodies[first : first + 1000]})
        assert answer.status_code == 201, answer.text


def submit_short(user: User) -> int:
    return user.submit("busy", {"seconds": SHORT})


def set_weight(live: Live, user: User, weight: float) -> None:
    code = SET_WEIGHT.format(name=user.name, weight=weight)
    live.command("manage", "shell", "--no-imports", "-c", code)


def wait_of(task: dict[str, Any]) -> float:
    started, created = (datetime.fromisoformat(task[name]) for name in ("started_at", "created_at"))
    return (started - created).total_seconds()


def seconds_of(user: User, since: float, until: float) -> float:
    """The seconds between two moments in which tasks of the user ran."""
    used = 0.0
    for task in begun(user):
        started = datetime.fromisoformat(task["started_at"]).timestamp()
        ended = task["finished_at"]
        finished = until if ended is None else datetime.fromisoformat(ended).timestamp()
        used += max(0.0, min(finished, until) - max(started, since))
    return used


def begun(user: User) -> Iterator[dict[str, Any]]:
    """The tasks of the user that run or have ended."""
    after = 0
    while True:
        path = f"/tasks/?status=in_progress,completed&page_size=100&after={after}"
        page = user.http.get(path).json()["results"]
        if not page:
            return
        yield from page
        after = page[-1]["id"]


MEASURES: dict[str, Callable[[int], None]] = {
    "newcomer": newcomer,
    "shares": shares,
    "light": light,
}


if __name__ == "__main__":
    main()
