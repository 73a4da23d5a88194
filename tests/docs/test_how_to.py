"""The handlers of the how-to pages: they run, are killed and are cancelled."""

import importlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from taskyard import InputFile, Run
from tests.contract.client import User
from tests.contract.test_faults import children
from tests.docs.pages import DOCS, blocks
from tests.live_system import Live
from tests.worker.test_files import Files

pytestmark = pytest.mark.servers
STEPS = ["fetched", "added up", "published"]


def module(page: str, directory: Path) -> dict[str, str]:
    """Write the code of the page as a module; the environment in which Taskyard finds it."""
    (code,) = (block.text for block in blocks(DOCS / page) if block.language == "python")
    (directory / "shown_tasks.py").write_text(code)
    return {
        "PYTHONPATH": f"{directory}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
        "TASKYARD_TASK_TYPES": "shown_tasks",
        "TASKYARD_CONCURRENCY": "1",
    }


def lines(user: User, task_id: int) -> list[str]:
    log = user.http.get(f"/tasks/{task_id}/logs/").json()["results"]
    return [line["message"] for line in log]


def is_in_step(user: User, task_id: int, number: int) -> bool:
    return len(lines(user, task_id)) == number and user.task(task_id)["attempt"] > number


def until(ready: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 20
    while not ready():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_the_report_survives_a_kill_in_every_step(
    new_live: Callable[..., Live], tmp_path: Path
) -> None:
    reports = tmp_path / "reports"
    live = new_live(REPORTS=str(reports), **module("how-to/durable-steps.md", tmp_path))
    user = User.register(live)
    task_id = user.submit("report", {"rows": 100})
    for number in range(len(STEPS)):
        # The earlier steps are finished, and this step runs in the next attempt.
        until(partial(is_in_step, user, task_id, number))
        time.sleep(0.7)
        for process in children(live.workers[0].pid):
            os.kill(process, signal.SIGKILL)
    task = user.wait(task_id)
    assert (task["status"], task["attempt"]) == ("completed", 4)
    assert task["result"] == {"total": 5050, "file": f"task-{task_id}.json"}
    assert lines(user, task_id) == [
        f"{step} in attempt {number}" for number, step in enumerate(STEPS, start=2)
    ]
    attempts = user.http.get(f"/tasks/{task_id}/attempts/").json()["results"]
    assert [attempt["outcome"] for attempt in attempts] == ["lost", "lost", "lost", "completed"]
    assert [path.name for path in reports.iterdir()] == [f"task-{task_id}.json"]
    assert json.loads(next(reports.iterdir()).read_text()) == {"total": 5050}


def test_the_table_is_cleaned_with_and_without_a_worker(
    new_live: Callable[..., Live], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = module("how-to/add-a-task-type.md", tmp_path)
    live = new_live(**environment)
    user, files = User.register(live), Files(live)
    data = b"a,b\n,\n\n1,2\n"
    table = files.upload(user, "table.csv", data)
    task = user.wait(user.submit("clean-table", {"table": table}))
    assert task["status"] == "completed", task
    assert files.ready(task["id"]) == {"clean table.csv": b"a,b\n1,2\n"}

    (tmp_path / "table.csv").write_bytes(data)
    monkeypatch.syspath_prepend(str(tmp_path))
    run = Run()
    shown = importlib.import_module("shown_tasks")
    output = shown.clean_table(run, InputFile.from_path(tmp_path / "table.csv"))
    assert run.saved == {"clean table.csv": b"a,b\n1,2\n"}
    assert output.size == 8
    monkeypatch.delitem(sys.modules, "shown_tasks")


def test_the_archive_stops_when_asked_and_cleans_up(
    new_live: Callable[..., Live], tmp_path: Path
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    live = new_live(**module("how-to/cancel-aware-handlers.md", tmp_path), TMPDIR=str(scratch))
    user = User.register(live)
    done = user.wait(user.submit("archive", {"pages": 2}))
    assert done["result"] == {"pages": 2}
    task_id = user.submit("archive", {"pages": 1000})
    until(lambda: list(scratch.glob("*/0")))
    assert user.http.post(f"/tasks/{task_id}/cancel/").status_code == 202
    assert user.wait(task_id, seconds=3)["status"] == "cancelled"
    (attempt,) = user.http.get(f"/tasks/{task_id}/attempts/").json()["results"]
    assert attempt["error"]["code"] == "cancelled_by_handler"
    assert not list(scratch.glob("*/0"))
