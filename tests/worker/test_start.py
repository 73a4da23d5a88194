"""A worker has a lease of its own before it does anything, however its surroundings start."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import SYSTEM, USUAL
from tests.contract.client import User
from tests.faults.transition_log import Truth, wait_for
from tests.live_system import Live

pytestmark = pytest.mark.servers


@pytest.fixture
def unstarted(tmp_path: Path) -> Any:
    """A system of which nothing runs yet, with a database that is not there yet."""
    marks = str(tmp_path / "marks")
    live = SYSTEM(tmp_path, {**USUAL, "TASKYARD_ACTIVE_LIMIT": "100", "MARKS": marks})
    yield live
    live.close()


def test_workers_that_start_before_the_database_are_three(unstarted: Live) -> None:
    live = unstarted
    assert check(live) == (1, "no worker runs here")
    for _ in range(3):
        live.start_worker()
    wait_for("all say why they wait", lambda: said(live, "no lease yet") == 3, seconds=60)
    code, why = check(live)
    assert code == 1
    assert "has no lease: " in why
    live.start_broker()
    live.command("migrate", "--verbosity", "0")
    live.start_web()
    live.wait_until_ready()
    truth = Truth(live.database)
    wait_for("three leases", lambda: len(leases(truth)) == 3, seconds=30)
    with User.register(live).http as http:
        for number in range(8):
            options = {"max_attempts": 1} if number % 2 else {}
            asked = {"number": number, "first": 1.0, "then": 1.0}
            body = {"task_type": "signs", "input_data": asked, **options}
            assert http.post("/tasks/create/", json=body).status_code == 201
    wait_for("all have ended", lambda: not truth.active(), seconds=60)
    begun = Counter((live.home.parent / "marks").read_text().split())
    assert len(begun) == 8
    assert set(begun.values()) == {1}
    assert len({worker for (worker,) in leases(truth)} - {0}) == 3
    assert check(live) == (0, "3 hold their lease")


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_that_waits_for_its_lease_stops_when_told(unstarted: Live, sent: int) -> None:
    worker = unstarted.start_worker()
    wait_for("it waits", lambda: said(unstarted, "no lease yet") == 1, seconds=60)
    began = time.monotonic()
    worker.send_signal(sent)
    assert worker.wait(timeout=10) == 0
    assert time.monotonic() - began < 5
    assert "Traceback" not in unstarted.log.read_text()


@pytest.mark.parametrize("pool", ["solo", "threads"])
def test_a_pool_without_processes_is_refused_in_one_line(unstarted: Live, pool: str) -> None:
    ran = celery_worker(unstarted, "--pool", pool)
    assert ran.returncode == 2
    assert ran.stderr.strip().splitlines()[-1:] == [
        "taskyard: a worker runs its tasks in processes: start it with --pool prefork"
    ]
    assert "Traceback" not in ran.stderr


def celery_worker(live: Live, *options: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "celery", "-q", "-A", "taskyard.worker", "worker", *options],
        env={**os.environ, **live.env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def check(live: Live) -> tuple[int, str]:
    ran = subprocess.run(
        [sys.executable, "-m", "taskyard", "worker", "--check"],
        env=live.env,
        capture_output=True,
        text=True,
        check=False,
    )
    return ran.returncode, ran.stdout.strip()


def said(live: Live, what: str) -> int:
    return live.log.read_text().count(what)


def leases(truth: Truth) -> list[tuple[Any, ...]]:
    return truth.rows("SELECT id FROM taskyard_worker WHERE lease_until > datetime('now')")
