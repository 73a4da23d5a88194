"""A broker that answers and refuses: the worker stays, works on, and takes messages again."""

from collections.abc import Callable

import pytest
import redis

from tests.contract.client import User
from tests.faults.transition_log import wait_for
from tests.live_system import Live
from tests.worker.test_outages import FOUND_SECONDS, ended, submit

pytestmark = pytest.mark.servers


def refuse_memory(broker: redis.Redis) -> Callable[[], None]:
    broker.config_set("maxmemory", "1")
    return lambda: broker.config_set("maxmemory", "0")


def become_a_replica(broker: redis.Redis) -> Callable[[], None]:
    # The primary does not exist: the replica keeps its data and is read-only.
    broker.execute_command("REPLICAOF", "127.0.0.1", "1")
    return lambda: broker.execute_command("REPLICAOF", "NO", "ONE")


def want_replicas(broker: redis.Redis) -> Callable[[], None]:
    broker.config_set("min-replicas-to-write", "3")
    return lambda: broker.config_set("min-replicas-to-write", "0")


def take_rights(broker: redis.Redis) -> Callable[[], None]:
    broker.execute_command("ACL", "SETUSER", "default", "-@write", "-@scripting", "-@blocking")
    return lambda: broker.execute_command("ACL", "SETUSER", "default", "+@all")


@pytest.mark.parametrize("refuse", [refuse_memory, become_a_replica, want_replicas, take_rights])
def test_a_broker_that_refuses_ends_no_worker(
    new_live: Callable[..., Live], refuse: Callable[[redis.Redis], Callable[[], None]]
) -> None:
    live = new_live(TASKYARD_ACTIVE_LIMIT="100")
    worker = live.workers[0]
    user = User.register(live)
    first = submit(user)
    wait_for("it works", lambda: ended(user, first), seconds=FOUND_SECONDS)
    with redis.Redis.from_url(live.redis_url) as broker:
        undo = refuse(broker)
        try:
            for _ in range(5):
                task = submit(user)
                wait_for("found", lambda: ended(user, task), seconds=FOUND_SECONDS)  # noqa: B023
        finally:
            undo()
    for _ in range(5):
        task = submit(user)
        wait_for("works again", lambda: ended(user, task), seconds=FOUND_SECONDS)  # noqa: B023
    assert worker.poll() is None
    assert "Unrecoverable" not in live.log.read_text()
