"""What becomes of tasks whose process dies, whose worker is stopped, or loses its lease."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.conftest import TEST_DB  # noqa: F401  # named by a mark
from tests.contract.client import User
from tests.faults.stage import lives
from tests.faults.transition_log import wait_for
from tests.live_system import Live
from tests.worker.test_outages import truth_of

pytestmark = pytest.mark.servers


@pytest.fixture
def one_process(new_live: Callable[..., Live], tmp_path: Path) -> tuple[Live, User]:
    """A worker of one process, and a user with a large quota."""
    live = new_live(
        TASKYARD_CONCURRENCY="1",
        TASKYARD_ACTIVE_LIMIT="100",
        TASKYARD_DRAIN_SECONDS="1",
        MARKS=str(tmp_path / "marks"),
    )
    return live, User.register(live)


def bulk(user: User, *tasks: dict[str, Any]) -> list[int]:
    answer = user.http.post("/tasks/bulk/", json={"tasks": list(tasks)})
    assert answer.status_code == 201, answer.text
    ids: list[int] = answer.json()["ids"]
    return ids


def quick(does: str = "nothing", **options: Any) -> dict[str, Any]:
    return {"task_type": "quick", "input_data": {"does": does}, **options}


def codes(user: User, ids: list[int]) -> list[str]:
    ended = user.wait_for_all(ids, seconds=60)
    return [(ended[task]["error"] or {"code": ended[task]["status"]})["code"] for task in ids]


def test_what_may_run_once_and_was_claimed_with_a_poison_is_not_run(
    one_process: tuple[Live, User],
) -> None:
    """It is unknown whether the second task had begun."""
    _, user = one_process
    ids = bulk(user, quick("die", max_attempts=1), quick(max_attempts=1))
    assert codes(user, ids) == ["worker_lost", "worker_lost"]


def test_what_may_run_again_and_was_claimed_with_a_poison_costs_nothing(
    one_process: tuple[Live, User],
) -> None:
    _, user = one_process
    ids = bulk(user, quick("die", max_attempts=1), quick(max_attempts=2))
    assert codes(user, ids) == ["worker_lost", "completed"]
    assert user.task(ids[1])["attempt"] == 1


def test_what_may_run_once_and_outlasts_the_drain_is_not_run_again(
    one_process: tuple[Live, User],
) -> None:
    live, user = one_process
    task = user.submit("busy", {"seconds": 60}, max_attempts=1)
    wait_for("it runs", lambda: truth_of(live).held().get(task), seconds=30)
    live.stop_worker()
    ended = user.wait(task)
    assert ended["error"]["code"] == "worker_lost"


def test_a_death_on_the_fast_path_is_an_attempt(
    one_process: tuple[Live, User], tmp_path: Path
) -> None:
    live, user = one_process
    for _ in range(3):  # the process learns that they are quick
        user.wait_for_all(bulk(user, *[quick() for _ in range(20)]), seconds=60)
    (task,) = bulk(user, quick("die", max_attempts=2))
    assert codes(user, [task]) == ["worker_lost"]
    assert len((tmp_path / "marks").read_text().split()) == 2
    assert user.task(task)["attempt"] == 2
    assert live.workers[0].poll() is None


@pytest.mark.skipif("TEST_DB == 'sqlite'", reason="SQLite locks no rows")
def test_a_verdict_waits_for_the_owner_whose_account_is_locked(
    one_process: tuple[Live, User],
) -> None:
    live, user = one_process
    other = User.register(live)
    task = user.submit("holds-the-gil", {}, timeout=0.5)
    truth = truth_of(live)
    wait_for("it runs", lambda: truth.held().get(task), seconds=30)
    process = truth.held()[task]
    with psycopg.connect(live.env["DATABASE_URL"]) as somebody:
        somebody.execute(
            "SELECT FROM taskyard_quota WHERE user_id = "
            "(SELECT owner_id FROM taskyard_task WHERE id = %s) FOR UPDATE",
            [task],
        )
        wait_for("its process is ended", lambda: not lives(process), seconds=30)
        for _ in range(3):
            assert other.wait(other.sum(1))["status"] == "completed"
            time.sleep(1)
        assert truth.held() == {task: process}
        somebody.rollback()
    ended = user.wait(task)
    assert (ended["error"]["code"], ended["attempt"]) == ("timeout", 1)


def test_a_task_that_has_slept_is_rescued_too(
    one_process: tuple[Live, User], tmp_path: Path
) -> None:
    live, user = one_process
    task = user.submit("sleeps-then-works", {"nap": 0.2, "work": 60}, max_attempts=2)
    truth = truth_of(live)
    # A claim alone costs no attempt, so wait for the handler itself.
    wait_for("it works after its nap", (tmp_path / "marks").exists, seconds=30)
    first = truth.held()[task]
    os.kill(first, signal.SIGKILL)
    wait_for("begun again", lambda: truth.held().get(task, first) != first, seconds=30)
    assert user.task(task)["attempt"] == 2


def test_a_worker_whose_lease_ran_out_stops_its_tasks(one_process: tuple[Live, User]) -> None:
    live, user = one_process
    task = user.submit("busy", {"seconds": 60}, max_attempts=1)
    truth = truth_of(live)
    wait_for("it runs", lambda: truth.held().get(task), seconds=30)
    process = truth.held()[task]
    live.command("manage", "shell", "--no-imports", "-c", LET_THE_LEASES_RUN_OUT)
    wait_for("its process is ended", lambda: not lives(process), seconds=30)
    assert user.wait(task)["error"]["code"] == "worker_lost"
    assert live.workers[0].poll() is None
    assert user.wait(user.sum(1))["status"] == "completed"


LET_THE_LEASES_RUN_OUT = """
from datetime import timedelta
from django.db.models.functions import Now
from taskyard.core.models import Worker
Worker.objects.update(lease_until=Now() - timedelta(seconds=1))
"""


def test_an_end_that_nobody_asked_for_is_not_a_success(one_process: tuple[Live, User]) -> None:
    live, _ = one_process
    live.celery().control.shutdown()
    assert live.workers[0].wait(timeout=60) == os.EX_TEMPFAIL
    assert "Celery ended without being told" in live.log.read_text()


def test_work_is_found_whatever_the_oldest_worker_knows(one_process: tuple[Live, User]) -> None:
    """That one serves another queue and does not know the type; Redis is emptied all the time."""
    live, user = one_process
    live.stop_worker()
    oldest = live.start_worker(TASKYARD_QUEUES="other", TASKYARD_TASK_TYPES="")
    entered = f'"worker entered","pid":{oldest.pid},'
    wait_for("it is there", lambda: entered in live.log.read_text(), seconds=60)
    live.start_worker(REDIS_URL="redis://127.0.0.1:1/0")
    task = user.submit("echoes", {"text": "heard"})
    assert user.wait(task, seconds=60)["result"] == "heard"
