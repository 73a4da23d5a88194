"""A project with Django tasks and a worker of its own: ``celery -A taskyard.worker worker``."""

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import fresh_database
from tests.host.system import Host

pytestmark = pytest.mark.servers
SETTINGS = "tests.contrib.django_tasks.settings"
ASK = """
import json
from tests.contrib.django_tasks.names import default_task_backend as backend
results = [backend.get_result(each) for each in {ids}]
print(json.dumps([
    [
        each.status,
        each._return_value,
        each.worker_ids,
        [error.exception_class.__name__ for error in each.errors],
    ]
    for each in results
]))
"""
ENQUEUE = """
import json
from django.db import transaction
from tests.contrib.django_tasks.shop import elsewhere, tasks
with transaction.atomic():
    results = [{calls}]
print(json.dumps([each.id for each in results]))
"""


def shell(host: Host, script: str) -> Any:
    lines = host.run("-m", "django", "shell", "--no-imports", "-c", script).strip().splitlines()
    return json.loads(lines[-1])


def run(host: Host, calls: str) -> list[Any]:
    """Enqueue tasks in one process, let the worker run them, read the results in another."""
    ids = shell(host, ENQUEUE.format(calls=calls))
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        results: list[Any] = shell(host, ASK.format(ids=ids))
        if all(status in ("SUCCESSFUL", "FAILED") for status, *_ in results):
            return results
    raise AssertionError(results)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    with ExitStack() as stack:
        started = stack.enter_context(Host(tmp_path, SETTINGS, fresh_database(stack)))
        started.start("celery", "-A", "taskyard.worker", "worker", "--concurrency", "1")
        yield started


def test_a_worker_runs_django_tasks(host: Host) -> None:
    """Also those of a module that only the caller has imported, and an ``async def``."""
    calls = (
        "tasks.ship.enqueue(7, express=True), tasks.echo_async.enqueue(1, two=2), "
        "elsewhere.count.enqueue('word'), tasks.mail.enqueue('a@example.org'), "
        "tasks.refuses.enqueue(), tasks.refuses_async.enqueue(), tasks.exits.enqueue(), "
        "tasks.own_id.enqueue(), tasks.second_time_lucky.using(max_attempts=3).enqueue()"
    )
    results = run(host, calls)
    values = [value for _, value, _, _ in results]
    assert values[:4] == ["7 at once", [[1], {"two": 2}], 4, "a@example.org"]
    assert values[4:7] == [None, None, None]
    assert values[8][0] == 2
    assert [errors for *_, errors in results] == [
        [],
        [],
        [],
        [],
        ["PaymentRefused"],
        ["PaymentRefused"],
        ["SystemExit"],
        [],
        ["PaymentRefused"],
    ]
    assert [len(worker_ids) for _, _, worker_ids, _ in results] == [1] * 8 + [2]
    assert "unknown" not in str(results)
