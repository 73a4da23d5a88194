"""A host's Celery worker carries a worker of Taskyard: both run their tasks, and end together."""

import signal
import time
from pathlib import Path

import psutil
import pytest
import redis
from celery import Celery

from taskyard.contrib.celery import join
from tests.contract.client import User
from tests.contrib.celery.shop_workers import Shop, family, joined, until

pytestmark = pytest.mark.servers


@pytest.fixture
def user(shop: Shop) -> User:
    return User.register(shop.live)


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_both_kinds_of_tasks_run(shop: Shop, user: User, pool: str) -> None:
    # Celery itself would use this broker for every app of the process.
    worker = shop.start_worker("--pool", pool, CELERY_BROKER_URL=shop.broker)
    shop.pack(1)
    assert user.wait(user.sum(1, 2))["result"] == {"result": 3}
    until(shop.packed)
    names = shop.results.keys()
    with redis.Redis.from_url(shop.broker, decode_responses=True) as broker:
        names = [*names, *broker.keys()]  # type: ignore[misc]
    assert not [name for name in names if "taskyard" in name], "our names are in our Redis alone"
    niceness = [_niceness(process) for process in family(joined(worker))]
    assert niceness.count("10") == 2, "the worker and the process of its pool"


def _niceness(process: psutil.Process) -> str:
    """The niceness of the session of a process."""
    return Path(f"/proc/{process.pid}/autogroup").read_text().split()[-1]


def test_a_cancel_ends_our_task_and_none_of_theirs(shop: Shop, user: User) -> None:
    shop.start_worker()
    task_id = user.submit("busy", {"seconds": 60})
    until(lambda: user.task(task_id)["status"] == "in_progress")
    shop.pack(1, seconds=4)
    until(lambda: shop.results.llen("began"))
    user.http.post(f"/tasks/{task_id}/cancel/")
    assert user.wait(task_id)["status"] == "cancelled"
    assert not shop.packed(), "it still runs"
    until(shop.packed)
    assert shop.results.lrange("began", 0, -1) == ["1"], "it ran once"


def test_sigterm_ends_both_when_their_tasks_have_ended(shop: Shop, user: User) -> None:
    worker = shop.start_worker()
    task_id = user.submit("busy", {"seconds": 2})
    until(lambda: user.task(task_id)["status"] == "in_progress")
    shop.pack(1, seconds=2)
    until(lambda: shop.results.llen("began"))
    processes = family(worker)
    began = time.monotonic()
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(timeout=20) == 0
    assert time.monotonic() - began < 10, "both drain at once"
    assert user.task(task_id)["status"] == "completed"
    assert shop.packed()
    psutil.wait_procs(processes, timeout=5)
    assert not [process for process in processes if process.is_running()]


def test_a_killed_worker_of_ours_is_started_again(shop: Shop, user: User) -> None:
    worker = shop.start_worker()
    task_id = user.submit("busy", {"seconds": 2})
    until(lambda: user.task(task_id)["status"] == "in_progress")
    first = joined(worker)
    first.kill()
    task = user.wait(task_id)
    assert (task["status"], task["attempt"]) == ("completed", 2)
    assert joined(worker).pid != first.pid
    shop.pack(1)
    until(shop.packed)


def test_it_ends_with_a_killed_worker_of_theirs(shop: Shop, user: User) -> None:
    worker = shop.start_worker()
    assert user.wait(user.sum(1))["status"] == "completed"
    processes = family(worker)
    worker.kill()
    psutil.wait_procs(processes, timeout=15)
    assert not [process for process in processes if process.is_running()]
    task_id = user.sum(1, 1)
    shop.start_worker()
    assert user.wait(task_id)["status"] == "completed"


def test_a_worker_that_cannot_run_leaves_theirs_alone(shop: Shop) -> None:
    worker = shop.start_worker(REDIS_URL="")
    until(lambda: "Taskyard's worker refuses to run" in shop.live.log_tail())
    assert "no broker is known" in shop.live.log_tail()
    shop.pack(1)
    until(shop.packed)
    assert worker.poll() is None


def test_without_a_broker_it_polls(shop: Shop, user: User) -> None:
    shop.start_worker(DJANGO_SETTINGS_MODULE="tests.contrib.celery.no_broker")
    assert user.wait(user.sum(1, 2), seconds=60)["result"] == {"result": 3}
    began = time.monotonic()
    for _ in range(3):
        user.wait(user.sum(1, 2))
    assert time.monotonic() - began < 6
    assert "no messages are taken" not in shop.live.log_tail()


def test_wrong_uses_are_one_line() -> None:
    app = Celery("wrong", broker="memory://", set_as_current=False)
    with pytest.raises(ValueError, match="'A b' is no name of a queue of Taskyard"):
        join(app, ["default", "A b"])
    join(app)
    with pytest.raises(ValueError, match="have joined already"):
        join(app)
