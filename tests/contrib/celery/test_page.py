"""The page about Celery tasks: its task is submitted, watched and cancelled over HTTP."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.contract.client import User
from tests.docs.pages import DOCS, blocks
from tests.live_system import Live

pytestmark = pytest.mark.servers


def test_its_task_is_submitted_watched_and_cancelled(
    new_live: Callable[..., Live], tmp_path: Path
) -> None:
    page = DOCS / "how-to" / "celery-tasks.md"
    (code,) = (block.text for block in blocks(page) if block.language == "python")
    existing, added = code.split("\n\n\nexpose(")
    ours = [line for line in existing.splitlines() if "taskyard" in line] + added.splitlines()
    assert len(ours) == 2, "lines that the project adds"
    (tmp_path / "shop_tasks.py").write_text(code)
    live = new_live(
        PYTHONPATH=f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
        TASKYARD_TASK_TYPES="shop_tasks",
    )
    user = User.register(live)
    task = user.wait(user.submit("send-invoices", {"customer_ids": [1, 2, 3]}))
    assert (task["status"], task["result"], task["max_attempts"]) == ("completed", 3, 5), task
    assert (task["progress"]["current"], task["progress"]["total"]) == (3, 3)

    task_id = user.submit("send-invoices", {"customer_ids": list(range(500))})
    while not (progress := user.task(task_id)["progress"]):
        time.sleep(0.1)
    assert progress["total"] == 500
    user.http.post(f"/tasks/{task_id}/cancel/")
    assert user.wait(task_id)["status"] == "cancelled"
