"""Timeouts that hit the end of a task: each ends once and is one thing or the other."""

import json
import os
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from tests.contract.client import User
from tests.faults.transition_log import wait_for
from tests.live_system import Live
from tests.worker.test_outages import truth_of

pytestmark = pytest.mark.servers
# `TIMEOUTS=1000` asks for so many, which takes half a minute.
MANY = int(os.environ.get("TIMEOUTS", "300"))
# A handler that returns so long before its time is over is not always in time with its result.
EARLIEST, LATEST = -0.004, 0.0005


def ending(number: int) -> dict[str, Any]:
    """A task whose handler returns when its time is almost over, or just over."""
    timeout = random.uniform(0.005, 0.007)
    seconds = timeout + random.uniform(EARLIEST, LATEST)
    if number % 3 == 0:
        kind: dict[str, Any] = {"task_type": "ends-in-time-together"}
        inputs: dict[str, Any] = {"seconds": seconds}
    else:
        kind = {"task_type": "ends-in-time"}
        inputs = {"seconds": seconds, "reports": number % 3 == 1}
    return {**kind, "input_data": inputs, "timeout": timeout}


def test_a_timeout_at_the_end_of_a_task_leaves_it_with_one_end(
    new_live: Callable[..., Live], figure: Callable[[str, str], None]
) -> None:
    live = new_live(TASKYARD_CONCURRENCY="1", TASKYARD_ACTIVE_LIMIT=str(MANY + 20))
    user, truth = User.register(live), truth_of(live)
    for _ in range(5):  # the process learns what is quick
        quick = {"task_type": "ends-in-time-together", "input_data": {"seconds": 0.0}}
        user.wait_for_all(bulk(user, [quick] * 4), seconds=60)
    truth.watch()
    asked = [ending(number) for number in range(MANY)]
    ids = bulk(user, asked)
    wait_for("all have ended", lambda: not truth.active(), seconds=180)
    ends = Counter(move.task_id for move in truth.moves(ids) if move.status != "in_progress")
    assert ends == dict.fromkeys(ids, 1), "each has one end, and none was tried again"
    rows = truth.rows("SELECT id, status, error_code, result, attempt, fence FROM taskyard_task")
    found = {row[0]: row[1:] for row in rows if row[0] in set(ids)}
    outcomes: Counter[str] = Counter()
    processes = set()
    for status, code, result, attempt, fence in found.values():
        assert (attempt, fence) == (1, 1)
        outcomes[code or status] += 1
        if status == "completed":
            kept = json.loads(result)
            assert kept["numbers"] == list(range(5000))
            processes.add(kept["process"])
        else:
            assert (status, code, result) == ("error", "timeout", None)
    assert outcomes["completed"] + outcomes["timeout"] == MANY
    assert min(outcomes.values()) > MANY / 20, f"few came near the end: {outcomes}"
    assert [quota[1:] for quota in truth.quotas()] == [(0, 0)]
    after = user.wait(user.submit("ends-in-time", {"seconds": 0.0}))
    assert processes == {after["result"]["process"]}, "the process goes on"
    assert live.workers[0].poll() is None
    assert "ending untold" not in live.log.read_text()
    figure("timeouts at the end of a task", f"{dict(outcomes)}, each ended once")


def bulk(user: User, tasks: list[dict[str, Any]]) -> list[int]:
    answer = user.http.post("/tasks/bulk/", json={"tasks": tasks})
    assert answer.status_code == 201, answer.text
    ids: list[int] = answer.json()["ids"]
    return ids
