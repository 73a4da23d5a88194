"""A handler that changes its process or its database session does not affect other tasks."""

import time
from typing import Any

import pytest

from tests.contract.client import User
from tests.live_system import Live

pytestmark = pytest.mark.servers
ENDS_IN_ERROR = {
    "exit": "worker_lost",
    **dict.fromkeys(["generator", "keyboard", "mute"], "exception"),
}
LEAVES = [
    *("aborted", "open", "read-only", "settings", "autocommit", "closed", "closed-below"),
    *("configured", "stdio", "directory", "umask", "locale", "signals", "blocked", "threads"),
    *ENDS_IN_ERROR,
]


@pytest.fixture(scope="module")
def alone(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A live system of one process, so that the next task runs in the process of the last one."""
    from contextlib import ExitStack

    from tests.conftest import USUAL, start_live

    with ExitStack() as stack:
        given = {**USUAL, "TASKYARD_CONCURRENCY": "1", "TASKYARD_ACTIVE_LIMIT": "1000"}
        yield start_live(stack, tmp_path_factory.mktemp("alone"), given)


@pytest.fixture
def user(alone: Live) -> User:
    return User.register(alone)


def looked_around(user: User) -> dict[str, Any]:
    ended = user.wait(user.submit("looks-around"))
    assert ended["status"] == "completed", ended
    return dict(ended["result"])


@pytest.mark.parametrize("how", LEAVES)
def test_the_next_handler_finds_all_as_it_was(user: User, how: str) -> None:
    before = looked_around(user)
    ended = user.wait(user.submit("misbehaves", {"how": how}))
    code = ended["error"] and ended["error"]["code"]
    assert code == ENDS_IN_ERROR.get(how), ended
    after = looked_around(user)
    if how != "exit":
        assert after["pid"] == before["pid"]
    assert after["found"]
    assert {**after, "pid": 0} == {**before, "pid": 0}


def test_what_run_writes_is_seen_at_once(user: User) -> None:
    """Reports inside a handler's transaction survive its rollback; but SQLite has one writer."""
    task_id = user.submit("owns-a-transaction", {"seconds": 3})
    while (task := user.task(task_id))["status"] == "pending":
        time.sleep(0.02)
    seen = []
    while task["status"] == "in_progress":
        seen.append(task["progress"])
        time.sleep(0.1)
        task = user.task(task_id)
    assert (task["status"], task["result"]) == ("completed", "out"), task
    lines = user.http.get(f"/tasks/{task_id}/logs/?page_size=100").json()["results"]
    assert sum(1 + line["dropped"] for line in lines) >= 20
    if user_database(user) == "postgresql":
        assert any(progress and progress["message"] == "inside" for progress in seen)


def user_database(user: User) -> str:
    from tests.conftest import TEST_DB

    return TEST_DB


def test_a_handler_in_its_own_transaction_is_cancelled(user: User) -> None:
    task_id = user.submit("owns-a-transaction", {"seconds": 60})
    while user.task(task_id)["status"] == "pending":
        time.sleep(0.02)
    time.sleep(0.5)
    began = time.monotonic()
    while user.http.post(f"/tasks/{task_id}/cancel/").status_code == 503:
        assert user_database(user) == "sqlite", "its row is not locked"
        assert time.monotonic() < began + 60
    assert user.wait(task_id, seconds=90)["status"] in ("cancelled", "completed")


def test_run_works_from_a_loop_and_from_threads(user: User) -> None:
    ended = user.wait(user.submit("runs-a-loop"))
    assert ended["status"] == "completed", ended
    assert ended["result"] == {"loop": 1, "thread": True}
    assert ended["attempt"] == 2
    lines = user.http.get(f"/tasks/{ended['id']}/logs/?page_size=100").json()["results"]
    said = [line["message"] for line in lines]
    assert said.count("in a thread") == 8
    assert said.count("in the loop 1") == 3


def test_nothing_depends_on_the_fast_path(user: User, alone: Live) -> None:
    """The first task of a type, which is claimed, and tasks on the fast path behave the same."""

    def ends(tasks: list[dict[str, Any]]) -> list[dict[str, Any]]:
        tasks = [{"task_type": "quick-with-database", "input_data": task} for task in tasks]
        answer = user.http.post("/tasks/bulk/", json={"tasks": tasks}).json()
        return [user.wait(task_id) for task_id in answer["ids"]]

    # The process learns that the type is quick and does not use the database.
    assert {task["status"] for task in ends([{}] * 20)} == {"completed"}
    name = f"fast-{time.monotonic_ns()}"
    mixed = [{}] * 5 + [{"name": name, "does": "write"}] + [{}] * 5
    assert [task["result"] for task in ends(mixed)] == ["nothing"] * 5 + ["told"] + ["nothing"] * 5
    assert [task["attempt"] for task in ends(mixed[:5])] == [1] * 5


@pytest.mark.parametrize("neighbours", [3])
def test_an_aborted_transaction_harms_no_neighbour(user: User, neighbours: int) -> None:
    tasks = [{"does": "nothing"}] * neighbours + [{"does": "abort", "name": "x"}]
    tasks += [{"does": "nothing"}] * neighbours
    body = [
        {"task_type": "quick-with-database", "input_data": task, "max_attempts": 2}
        for task in tasks
    ]
    ids = user.http.post("/tasks/bulk/", json={"tasks": body}).json()["ids"]
    ended = [user.wait(task_id) for task_id in ids if task_id != ids[neighbours]]
    assert {(task["status"], task["attempt"]) for task in ended} == {("completed", 1)}
    user.http.post(f"/tasks/{ids[neighbours]}/cancel/")
