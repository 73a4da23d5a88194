"""Quick tasks run without a claim, and keep every promise."""

from typing import Any

import pytest

from tests.contract.client import User
from tests.live_system import Live

pytestmark = pytest.mark.servers


@pytest.fixture
def user(new_live: Any) -> User:
    live: Live = new_live(TASKYARD_ACTIVE_LIMIT="1000")
    user = User.register(live)
    # A process runs the type without a claim only when it has seen that it is quick.
    for _ in range(3):
        ended(user, submit(user, *["nothing"] * 100))
    return user


def submit(user: User, *does: str, **options: Any) -> list[int]:
    tasks = [{"task_type": "quick", "input_data": {"does": each}, **options} for each in does]
    answer = user.http.post("/tasks/bulk/", json={"tasks": tasks})
    assert answer.status_code == 201, answer.text
    return list(answer.json()["ids"])


def ended(user: User, ids: list[int], *, seconds: float = 60) -> list[dict[str, Any]]:
    return [user.wait(task_id, seconds=seconds) for task_id in ids]


def test_what_is_quick_begins_and_ends_in_one_write(user: User) -> None:
    # After a slow task a process claims again until it has seen that the type is quick.
    rounds = (ended(user, submit(user, *["nothing"] * 20)) for _ in range(30))
    tasks = (task for tasks in rounds for task in tasks)
    assert any(task["started_at"] == task["finished_at"] for task in tasks)


def test_a_poison_ends_by_its_attempts_and_takes_nobody_along(user: User) -> None:
    before = submit(user, *["nothing"] * 20)
    (poison,) = submit(user, "die", max_attempts=2)
    after = submit(user, *["nothing"] * 20)
    (task,) = ended(user, [poison])
    assert (task["status"], task["error"]["code"], task["attempt"]) == ("error", "worker_lost", 2)
    others = ended(user, before + after)
    assert {(each["status"], each["attempt"]) for each in others} == {("completed", 1)}


def test_one_that_dawdles_is_begun_again_with_care(user: User) -> None:
    (slow,) = submit(user, "dawdle")
    others = submit(user, *["nothing"] * 20)
    (task,) = ended(user, [slow])
    assert (task["status"], task["result"], task["attempt"]) == ("completed", "dawdle", 1)
    assert {each["status"] for each in ended(user, others)} == {"completed"}


def test_the_only_process_finds_work_that_nobody_called_it_for(new_live: Any) -> None:
    live: Live = new_live(TASKYARD_CONCURRENCY="1")
    user = User.register(live)
    assert user.wait(user.sum(1, 2))["status"] == "completed"
    # Submitted without a notification, as by a web that is killed after its commit.
    said = (
        "from taskyard.core import notifications; notifications.register_queue_notifier(None)\n"
        "from taskyard.core import lifecycle; from taskyard.core.types import NewTask\n"
        "from taskyard.accounts.models import User\n"
        f"owner = User.objects.get(username={user.name!r}).pk\n"
        "new = NewTask(task_type='sum', queue='default', input_data={'numbers': [2, 3]})\n"
        "print(lifecycle.submit(owner, new).pk)"
    )
    task_id = int(live.command("manage", "shell", "--no-imports", "-c", said).split()[-1])
    assert user.wait(task_id, seconds=10)["result"] == {"result": 5}
