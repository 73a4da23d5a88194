"""A handler's logs and prints are in its task's log, and in the server's log with its id."""

import json
from typing import Any

import pytest

from tests.contract.client import User
from tests.live_system import Live

pytestmark = pytest.mark.servers


def lines(user: User, task_id: int) -> list[tuple[str | None, str]]:
    answer = user.http.get(f"/tasks/{task_id}/logs/?limit=100")
    return [(line["level"], line["message"]) for line in answer.json()["results"]]


def test_what_is_logged_and_printed_reaches_the_task(live: Live) -> None:
    user = User.register(live)
    task_id = user.submit("talks", {"words": "ёж"})
    assert user.wait(task_id)["status"] == "completed"
    assert lines(user, task_id) == [
        ("WARNING", "ёж logged"),
        ("INFO", "ёж from a thread"),
        ("INFO", "ёж printed"),
        ("WARNING", "ёж complained"),
        ("INFO", "in two lines"),
    ]


def test_the_servers_log_names_the_task(live: Live) -> None:
    user = User.register(live)
    task_id = user.submit("talks", {"words": "badger"})
    user.wait(task_id)
    told: list[dict[str, Any]] = [
        json.loads(line) for line in live.log.read_text().splitlines() if "badger" in line
    ]
    assert [(line["event"], line["task"], line["task_type"]) for line in told] == [
        (f"badger {how}", task_id, "talks")
        for how in ("logged", "from a thread", "printed", "complained")
    ]


def test_beyond_a_hundred_lines_at_a_time_they_are_counted(live: Live) -> None:
    user = User.register(live)
    task_id = user.submit("talks", {"words": "much", "lines": 200})
    user.wait(task_id)
    answer = user.http.get(f"/tasks/{task_id}/logs/?limit=100").json()["results"]
    assert (len(answer), answer[-1]["dropped"]) == (100, 105)


def test_a_thread_left_behind_says_nothing_in_anothers_log(new_live: Any) -> None:
    live: Live = new_live(TASKYARD_CONCURRENCY="1")
    first, second = User.register(live), User.register(live)
    first.wait(first.submit("mutters"))
    task_id = second.submit("busy", {"seconds": 0.5})
    second.wait(task_id)
    assert lines(second, task_id) == []
    assert "a secret of another task" in live.log.read_text()


@pytest.mark.parametrize("task_type", ["introspects", "introspects-in-a-loop"])
def test_a_run_knows_its_task(live: Live, task_type: str) -> None:
    user = User.register(live)
    task_id = user.submit(task_type, tags=["vip"], priority="high")
    assert user.wait(task_id)["result"] == {
        "owner": {"id": user.http.get("/me/").json()["id"], "name": user.name},
        "tags": ["vip"],
        "type": task_type,
        "priority": "high",
    }
