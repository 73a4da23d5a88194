"""One Redis shared with other installations and with a host project's own Celery."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis
from celery import Celery

from tests.contract.client import User
from tests.live_system import Live

pytestmark = pytest.mark.servers
TASKS = 1000


def test_two_installations_on_one_redis_complete_all_their_tasks(new_live: Any) -> None:
    first = new_live(TASKYARD_ACTIVE_LIMIT=str(TASKS))
    second = new_live(TASKYARD_ACTIVE_LIMIT=str(TASKS), REDIS_URL=first.redis_url)
    assert first.prefix != second.prefix
    users = [User.register(live) for live in (first, second)]
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(do_all, users)) == [{"completed": TASKS}] * 2
    said = first.command("doctor")
    assert second.prefix.split(":")[1] in said
    assert first.prefix.split(":")[1] in said
    assert names(first.redis_url) <= {first.prefix, second.prefix, "taskyard:installations"}


def do_all(user: User) -> dict[str, int]:
    """Submit half of the tasks in bulk, half one by one; count the final states."""
    task = {"task_type": "sum", "input_data": {"numbers": [1, 2]}}
    answer = user.http.post("/tasks/bulk/", json={"tasks": [task] * (TASKS // 2)})
    assert answer.status_code == 201, answer.text
    for number in range(TASKS // 2):
        user.sum(number)
    user.wait_for_all([], seconds=120)
    counts = {
        status: user.http.get("/tasks/", params={"status": status}).json()["count"]
        for status in ("pending", "in_progress", "completed", "error", "cancelled")
    }
    return {status: count for status, count in counts.items() if count}


def test_messages_of_a_hosts_celery_in_a_queue_of_the_same_name_stay_where_they_are(
    live: Live,
) -> None:
    user = User.register(live)
    with Celery("host", broker=live.redis_url) as host, redis.Redis.from_url(live.redis_url) as r:
        for number in range(20):
            host.send_task("host.charge_card", args=(number,), queue="default")
        for number in range(20):
            assert user.wait(user.sum(number, 1))["result"] == {"result": number + 1}
        assert r.llen("default") == 20
        said = live.command("doctor")
        assert "other programs' keys, such as _kombu.binding.default" in said
        r.delete("default", "_kombu.binding.default")


def test_a_copy_of_a_database_gets_an_id_of_its_own_when_told(new_live: Any) -> None:
    live: Live = new_live()
    before = live.prefix
    live.command(
        *("manage", "shell", "--no-imports", "-c"),
        "from taskyard.core.models import Installation; Installation.objects.all().delete()",
    )
    del live.prefix
    assert live.prefix != before


def names(url: str) -> set[str]:
    """The first two parts of each name that is in use."""
    with redis.Redis.from_url(url, decode_responses=True) as client:
        found = [*client.scan_iter(), *client.pubsub_channels()]
    return {
        name if name == "taskyard:installations" else ":".join([*name.split(":")[:2], ""])
        for name in found
    }
