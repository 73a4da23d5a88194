"""All processes that a handler starts end with its task."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.contract.client import User
from tests.faults.stage import lives
from tests.live_system import Live

pytestmark = pytest.mark.servers


@pytest.fixture
def user(live: Live) -> User:
    return User.register(live)


def wait_until(true: Callable[[], bool], *, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "not so in time"
        time.sleep(0.05)


def started(directory: Path) -> list[int]:
    wait_until(lambda: len(list(directory.iterdir())) == 4)
    return [int(path.name) for path in directory.iterdir()]


def all_end(children: list[int]) -> None:
    wait_until(lambda: not any(lives(child) for child in children), seconds=15)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_handler_may_use_processes(user: User, method: str) -> None:
    for _ in range(3):
        ended = user.wait(user.submit("uses-processes", {"method": method, "numbers": [1, 2, 3]}))
        assert (ended["status"], ended["result"]) == ("completed", [1, 4, 9])


def test_what_a_handler_leaves_behind_ends_with_it(user: User, tmp_path: Path) -> None:
    task_id = user.submit("leaves-children", {"directory": str(tmp_path), "then": "return"})
    assert user.wait(task_id)["result"] == "return"
    all_end(started(tmp_path))


def test_also_when_its_process_dies(user: User, tmp_path: Path) -> None:
    task_id = user.submit("leaves-children", {"directory": str(tmp_path), "then": "segfault"})
    children = started(tmp_path)
    assert user.wait(task_id)["error"]["code"] == "worker_lost"
    all_end(children)


def test_also_when_it_is_cancelled_and_killed(
    new_live: Callable[..., Live], tmp_path: Path
) -> None:
    user = User.register(new_live(TASKYARD_CANCEL_GRACE_SECONDS="1"))
    (tmp_path / "pids").mkdir()
    given = {"directory": str(tmp_path / "pids"), "then": "hang"}
    task_id = user.submit("leaves-children", given)
    children = started(tmp_path / "pids")
    assert all(lives(child) for child in children)
    user.http.post(f"/tasks/{task_id}/cancel/")
    assert user.wait(task_id)["status"] == "cancelled"
    all_end(children)


def test_also_when_it_takes_too_long(user: User, tmp_path: Path) -> None:
    given = {"directory": str(tmp_path), "then": "hang"}
    task_id = user.submit("leaves-children", given, timeout=1)
    children = started(tmp_path)
    assert user.wait(task_id)["error"]["code"] == "timeout"
    all_end(children)


@pytest.mark.parametrize("group", [True, False])
def test_also_when_the_worker_is_killed(
    new_live: Callable[..., Live], tmp_path: Path, group: bool
) -> None:
    live = new_live()
    user = User.register(live)
    (tmp_path / "pids").mkdir()
    user.submit("leaves-children", {"directory": str(tmp_path / "pids"), "then": "hang"})
    children = started(tmp_path / "pids")
    if not group:
        os.kill(live.workers[0].pid, signal.SIGKILL)
    live.kill_worker()
    all_end(children)


@pytest.mark.parametrize("how", ["returns", "raises"])
def test_only_the_process_that_was_given_a_task_ends_it(user: User, how: str) -> None:
    ended = user.wait(user.submit("forks", {"how": how}))
    assert (ended["status"], ended["result"], ended["attempt"]) == ("completed", "parent", 1)
    assert user.wait(user.sum(1, 2))["result"] == {"result": 3}
