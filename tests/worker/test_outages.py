"""Work goes on without the broker, and without the database a worker keeps out of the way."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import TEST_DB
from tests.contract.client import User
from tests.faults.proxy import Mode, Proxy
from tests.faults.rows import is_ready
from tests.faults.stage import children
from tests.faults.transition_log import Truth, wait_for
from tests.live_system import Live

pytestmark = pytest.mark.servers
# Promised are five seconds; a loaded machine may take longer for everything.
FOUND_SECONDS = 20.0


def truth_of(live: Live) -> Truth:
    return Truth(live.database)


def submit(user: User, task_type: str = "sum", **options: Any) -> int:
    given = options.pop("input_data", {"numbers": [1]})
    body = {"task_type": task_type, "input_data": given, **options}
    response = user.http.post("/tasks/create/", json=body)
    assert response.status_code == 201, response.text
    return int(response.json()["id"])


def ended(user: User, task_id: int) -> str:
    status = user.http.get(f"/tasks/{task_id}/").json()["status"]
    return status if status not in ("pending", "in_progress") else ""


@pytest.fixture
def behind_a_proxy(new_live: Callable[..., Live]) -> Iterator[tuple[Live, Proxy]]:
    """A system whose worker reaches the broker through a proxy."""
    live = new_live(TASKYARD_ACTIVE_LIMIT="100")
    with Proxy(live.redis_url) as proxy:
        live.stop_worker()
        live.start_worker(REDIS_URL=proxy.url)
        wait_for("it is ready", lambda: is_ready(live, live.workers[-1].pid), seconds=60)
        yield live, proxy


@pytest.mark.parametrize("mode", [Mode.REFUSE, Mode.BLACK_HOLE, Mode.RESET])
def test_work_is_found_without_the_broker(
    behind_a_proxy: tuple[Live, Proxy], mode: Mode, figure: Callable[[str, str], None]
) -> None:
    live, proxy = behind_a_proxy
    user = User.register(live)
    proxy.become(mode)
    live.stop_broker()
    wait_for("it has noticed", lambda: "no messages are taken" in live.log.read_text(), seconds=30)
    taken = []
    for _ in range(5):
        task = submit(user)
        taken.append(wait_for("found", lambda: ended(user, task), seconds=FOUND_SECONDS))  # noqa: B023
    figure(f"work found without the broker ({mode.value})", f"{max(taken):.1f} s at most")
    # A process that dies meanwhile is replaced, or nothing could be run with two such tasks.
    dead = [submit(user, "dies", input_data={}, max_attempts=1) for _ in range(4)]
    wait_for("they have died", lambda: all(ended(user, task) for task in dead), seconds=60)
    task = submit(user)
    wait_for("still at work", lambda: ended(user, task), seconds=FOUND_SECONDS)
    live.start_broker()
    proxy.become(Mode.PASS)
    again = "messages are taken again"
    wait_for("back", lambda: again in live.log.read_text(), seconds=30)


def test_a_worker_starts_without_the_broker(new_live: Callable[..., Live]) -> None:
    live = new_live()
    user = User.register(live)
    live.stop_worker()
    live.stop_broker()
    worker = live.start_worker()
    task = submit(user)
    wait_for("found", lambda: ended(user, task), seconds=60)
    began = time.monotonic()
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(timeout=30) == 0
    assert time.monotonic() - began < 20


if TEST_DB == "postgresql":  # a file cannot be cut off

    @pytest.mark.parametrize("mode", [Mode.REFUSE, Mode.BLACK_HOLE])
    def test_a_worker_that_is_cut_off_listens_to_nothing(
        new_live: Callable[..., Live], mode: Mode
    ) -> None:
        live = new_live(TASKYARD_ACTIVE_LIMIT="100", TASKYARD_DRAIN_SECONDS="2")
        with Proxy(live.env["DATABASE_URL"]) as link:
            far = live.start_worker(DATABASE_URL=link.url)
            wait_for("it is ready", lambda: is_ready(live, far.pid), seconds=60)
            user = User.register(live)
            link.become(mode)
            wait_for(
                "it keeps out", lambda: "no messages are taken" in live.log.read_text(), seconds=30
            )
            for _ in range(10):
                task = submit(user)
                wait_for("done by the other", lambda: ended(user, task), seconds=FOUND_SECONDS)  # noqa: B023
            # Told to stop, it stops, though it cannot say so to the database.
            began = time.monotonic()
            far.send_signal(signal.SIGTERM)
            assert far.wait(timeout=40) == 0
            assert time.monotonic() - began < 20
            live.workers.remove(far)


if TEST_DB == "postgresql":

    @pytest.mark.parametrize("mode", [Mode.REFUSE, Mode.BLACK_HOLE])
    def test_sigterm_ends_a_worker_that_cannot_write_how_its_tasks_ended(
        new_live: Callable[..., Live], mode: Mode
    ) -> None:
        live = new_live(TASKYARD_DRAIN_SECONDS="3")
        truth = truth_of(live)
        live.stop_worker()
        with Proxy(live.env["DATABASE_URL"]) as link:
            far = live.start_worker(DATABASE_URL=link.url)
            user = User.register(live)
            tasks = [submit(user, "busy", input_data={"seconds": 2}) for _ in range(2)]
            wait_for("both run", lambda: set(tasks) <= set(truth.held()), seconds=60)
            link.become(mode)
            time.sleep(4)
            began = time.monotonic()
            far.send_signal(signal.SIGTERM)
            assert far.wait(timeout=40) == 0
            assert time.monotonic() - began < 20
            live.workers.remove(far)
        live.start_worker()
        wait_for("done by the next", lambda: all(ended(user, each) for each in tasks), seconds=90)


def test_sigterm_ends_a_worker_whose_broker_hangs(behind_a_proxy: tuple[Live, Proxy]) -> None:
    live, proxy = behind_a_proxy
    user = User.register(live)
    task = submit(user)
    wait_for("it works", lambda: ended(user, task), seconds=FOUND_SECONDS)
    proxy.become(Mode.BLACK_HOLE)
    began = time.monotonic()
    worker = live.workers.pop()
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(timeout=40) == 0
    assert time.monotonic() - began < 20


def test_a_lease_that_was_deleted_ends_the_worker(new_live: Callable[..., Live]) -> None:
    live = new_live()
    worker = live.workers[0]
    user = User.register(live)
    running = submit(user, "busy", input_data={"seconds": 60})
    wait_for("it runs", lambda: truth_of(live).held().get(running), seconds=30)
    delete_leases(live)
    assert worker.wait(timeout=30) == os.EX_TEMPFAIL
    assert "lease gone" in live.log.read_text()


def delete_leases(live: Live) -> None:
    live.command("manage", "shell", "--no-imports", "-c", DELETE_LEASES)


DELETE_LEASES = """
from taskyard.core.models import Worker
Worker.objects.all().delete()
"""


def test_a_dead_workers_lease_ends_when_the_next_one_starts(new_live: Callable[..., Live]) -> None:
    live = new_live(TASKYARD_LEASE_SECONDS="3600")
    user = User.register(live)
    running = submit(user, "signs", input_data={"number": 1, "first": 60, "then": 0})
    truth = truth_of(live)
    wait_for("it runs", lambda: truth.held().get(running), seconds=30)
    assert children(live.workers[0].pid)
    live.kill_worker()
    live.start_worker()
    wait_for("done by the next", lambda: ended(user, running) == "completed", seconds=60)


def test_workers_of_one_name_do_not_end_each_other(
    new_live: Callable[..., Live], tmp_path: Path
) -> None:
    """As two machines of one image: neither sees the other's processes nor its files."""
    live = new_live()
    user = User.register(live)
    (tmp_path / "other").mkdir()
    running = submit(user, "signs", input_data={"number": 1, "first": 8, "then": 0})
    truth = truth_of(live)
    wait_for("it runs", lambda: truth.held().get(running), seconds=30)
    other = live.start_worker(TMPDIR=str(tmp_path / "other"))
    wait_for("the other is ready", lambda: is_ready(live, other.pid), seconds=60)
    wait_for("it has ended", lambda: ended(user, running) == "completed", seconds=60)
    assert user.http.get(f"/tasks/{running}/").json()["result"]["attempt"] == 1
