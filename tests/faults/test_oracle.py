"""The oracle reports violations when the fence is removed."""

import os
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import TEST_DB
from tests.faults import oracle
from tests.faults.ledger import Answer, Entry, Job, sums
from tests.faults.stage import Stage, Trial, children
from tests.faults.transition_log import Move, said_wrongly, wait_for


def late_write(trial: Trial) -> None:
    """A worker is stopped beyond its lease; its process ends while another runs the task."""
    asked = {"number": 1, "first": 1.0, "then": 5.0}
    entry = trial.ledger.submit(Job("signs", asked, {"number": 1}, signed=True))
    assert entry
    wait_for("it runs", lambda: entry.id in trial.truth.held(), seconds=10)
    first = trial.truth.held()[entry.id]
    worker = trial.live.workers[0]
    family = children(worker.pid)
    trial.lost.update(family)
    for pid in (worker.pid, *family):
        os.kill(pid, signal.SIGSTOP)
    trial.live.start_worker()
    elsewhere = "another worker runs it"
    wait_for(elsewhere, lambda: trial.truth.held().get(entry.id, first) != first, seconds=30)
    for pid in family:
        os.kill(pid, signal.SIGCONT)
    oracle.settle(trial.truth, seconds=20)
    trial.live.kill_worker(worker)


@pytest.mark.servers
def test_without_the_fence_the_oracle_goes_red(tmp_path: Path) -> None:
    stage = Stage(TEST_DB, tmp_path, server=os.environ.get("TEST_DATABASE_URL"))
    with stage.trial(
        TASKYARD_LEASE_SECONDS="2", TASKYARD_TASK_TYPES="tests.task_types,tests.faults.unfenced"
    ) as trial:
        late_write(trial)
        (finding,) = trial.findings()
    assert finding == "task 1 (attempt 2) has the result {'number': 1, 'attempt': 1}"


def entry(task_id: int = 1, job: Job | None = None, key: str = "key") -> Entry:
    return Entry(task_id, "ann", key, job or sums(1), 1, False, 0.0, 0.0)


def move(old: str, new: str, **how: Any) -> Move:
    given = {"at": 0.0, "task_id": 1, "old_status": old, "status": new}
    same = {"old_attempt": 1, "attempt": 1, "old_fence": 1, "fence": 1}
    nobody = {"old_worker": None, "old_process": None, "worker": None}
    return Move(**{**given, **same, **nobody, **how})


CLAIM = move("pending", "in_progress", old_attempt=0, old_fence=0, worker=1)
RESCUE = move("in_progress", "pending", old_worker=1, old_process=2)
FINISH = move("in_progress", "completed", old_worker=1, old_process=2)


@pytest.mark.parametrize(
    ("look", "seen"),
    [
        (lambda: oracle.ends([entry()], {1: ("ann", "completed", {"result": 2}, "", 1)}), 0),
        (lambda: oracle.ends([entry()], {}), 1),
        (lambda: oracle.ends([entry()], {1: ("bob", "completed", {"result": 2}, "", 1)}), 1),
        (lambda: oracle.ends([entry()], {1: ("ann", "pending", None, "", 0)}), 1),
        (lambda: oracle.ends([entry()], {1: ("ann", "error", None, "worker_lost", 3)}), 1),
        (lambda: oracle.ends([entry()], {1: ("ann", "completed", {"result": 3}, "", 1)}), 1),
        (lambda: oracle.strangers([entry()], {1: "ann"}), 0),
        (lambda: oracle.strangers([entry()], {1: "ann", 2: "ann"}), 1),
        (lambda: oracle.strangers([entry(), entry(key="other")], {1: "ann"}), 1),
        (lambda: oracle.keyed([entry()], {("ann", "key"): [1]}), 0),
        (lambda: oracle.keyed([entry()], {("ann", "key"): [2]}), 1),
        (lambda: oracle.keyed([entry()], {}), 1),
        (lambda: oracle.histories([CLAIM, FINISH], [1]), 0),
        (lambda: oracle.histories([CLAIM], [1]), 1),
        # After its end, so this is a second end.
        (lambda: oracle.histories([CLAIM, FINISH, move("completed", "completed")], [1]), 2),
        (lambda: oracle.histories([CLAIM, FINISH, move("error", "pending")], [1]), 1),
        (lambda: oracle.histories([move("pending", "completed")], [1]), 1),
        (lambda: oracle.histories([CLAIM, FINISH, move("pending", "pending", fence=3)], [1]), 1),
        (lambda: oracle.histories([CLAIM, FINISH, move("pending", "pending", attempt=0)], [1]), 1),
        (lambda: oracle.executions(Counter({1: 1}), [CLAIM, FINISH], {2}), 0),
        (lambda: oracle.executions(Counter({1: 2}), [CLAIM, FINISH], {2}), 1),
        (lambda: oracle.executions(Counter({1: 2}), [CLAIM, RESCUE, CLAIM], {2}), 0),
        (lambda: oracle.executions(Counter({1: 3}), [CLAIM, RESCUE, CLAIM], {2}), 1),
        # Taken from a process that had not died.
        (lambda: oracle.executions(Counter({1: 2}), [CLAIM, RESCUE, CLAIM], {3}), 1),
        (lambda: oracle.outages([Answer(5, 1, 503, "5")], [(4, 7)]), 0),
        (lambda: oracle.outages([Answer(5, 1, 503, "5")], [(7, 9)]), 1),
        (lambda: oracle.outages([Answer(5, 1, 503, None)], [(4, 7)]), 1),
        (lambda: oracle.outages([Answer(5, 1, 500, "5")], [(4, 7)]), 1),
        (lambda: said_wrongly([("ann", 5, 5)], 5), 0),
        (lambda: said_wrongly([("ann", 6, 6)], 5), 1),
        (lambda: said_wrongly([("ann", 1, 0)], 5), 1),
    ],
)
def test_the_oracle_sees(look: Callable[[], Any], seen: int) -> None:
    assert len(look()) == seen
