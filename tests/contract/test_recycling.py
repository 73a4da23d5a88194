"""Processes of a worker are replaced by count and by memory; no task notices."""

import subprocess
import sys
from collections import Counter
from collections.abc import Callable

import psutil
import pytest

from tests.contract.client import User
from tests.faults.stage import children
from tests.live_system import Live

pytestmark = pytest.mark.servers
LIMIT_KIB = 200_000
# A process may exceed its limit by the memory that it takes between two checks. On the fast path
# the check follows the transaction, 25 ms after it began.
SLACK_KIB = {"leaks": 40_000, "leaks-in-batches": 100_000}


def bulk(user: User, task_type: str, times: int, **input_data: int) -> list[int]:
    tasks = [{"task_type": task_type, "input_data": input_data}] * times
    answer = user.http.post("/tasks/bulk/", json={"tasks": tasks})
    assert answer.status_code == 201, answer.text
    return list(answer.json()["ids"])


def largest(live: Live) -> int:
    """The memory of the worker's largest process, in KiB."""
    sizes = [0]
    for pid in children(live.workers[0].pid):
        try:
            sizes.append(psutil.Process(pid).memory_info().rss // 1024)
        except psutil.NoSuchProcess:
            continue
    return max(sizes)


@pytest.mark.parametrize("task_type", ["leaks", "leaks-in-batches"])
def test_memory_is_bounded_and_nothing_is_lost(
    new_live: Callable[..., Live], figure: Callable[[str, str], None], task_type: str
) -> None:
    live = new_live(TASKYARD_ACTIVE_LIMIT="1000", TASKYARD_MAX_MEMORY_PER_CHILD=str(LIMIT_KIB))
    user = User.register(live)
    ids = bulk(user, task_type, 200, kib=5 * 1024)
    most = 0
    while user.http.get("/limits/").json()["active"]:
        most = max(most, largest(live))
    ended = [user.task(task_id) for task_id in ids]
    assert Counter((task["status"], task["attempt"]) for task in ended) == {("completed", 1): 200}
    assert len({task["result"] for task in ended}) > 4
    figure(f"200 × {task_type} of 5 MiB: largest process", f"{most // 1024} MiB")
    assert most < LIMIT_KIB + SLACK_KIB[task_type]


def test_a_process_ends_after_so_many_tasks(new_live: Callable[..., Live]) -> None:
    live = new_live(TASKYARD_ACTIVE_LIMIT="1000", TASKYARD_MAX_TASKS_PER_CHILD="3")
    user = User.register(live)
    ended = user.wait_for_all(bulk(user, "names-its-process", 30), seconds=60)
    assert Counter(task["status"] for task in ended.values()) == {"completed": 30}
    assert max(Counter(task["result"] for task in ended.values()).values()) == 3


def test_celerys_own_flags_do_the_same(new_live: Callable[..., Live]) -> None:
    live = new_live(TASKYARD_ACTIVE_LIMIT="1000")
    live.stop_worker()
    user = User.register(live)
    ids = bulk(user, "names-its-process", 20)
    with live.log.open("ab") as log:
        worker = subprocess.Popen(
            [
                *(sys.executable, "-m", "celery", "-A", "taskyard.worker", "worker"),
                *("-c", "2", "--max-tasks-per-child", "2", "--max-memory-per-child", "900000"),
            ],
            env={**live.env, "C_FORCE_ROOT": "1"},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    live.workers.append(worker)
    ended = user.wait_for_all(ids, seconds=60)
    assert max(Counter(task["result"] for task in ended.values()).values()) == 2
