"""Ids beyond 2^31: tasks run, and a stream and a list pass the boundary."""

from typing import TYPE_CHECKING

import pytest
from django.db import connection

from taskyard.core import leases, lifecycle, transitions
from taskyard.core.models import Task
from taskyard.core.states import Status
from taskyard.core.types import AttemptResult
from taskyard.live import changes
from taskyard.live.changes import Position

if TYPE_CHECKING:
    from tests.api_client import ApiClient

pytestmark = pytest.mark.django_db(transaction=True)

LAST_SMALL = 2**31 - 1


def go_on_after(table: str, last: int) -> None:
    """Give the next row of this table the id after ``last``."""
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("DELETE FROM sqlite_sequence WHERE name = %s", [table])
            cursor.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (%s, %s)", [table, last])
        else:
            cursor.execute("SELECT setval(pg_get_serial_sequence(%s, 'id'), %s)", [table, last])


def test_ids_go_beyond_31_bits(api: "ApiClient", user: object) -> None:
    for table in ("taskyard_task", "taskyard_attempt", "taskyard_logline"):
        go_on_after(table, LAST_SMALL - 1)
    ids = [api.create().json()["id"] for _ in range(3)]
    assert ids == [LAST_SMALL, LAST_SMALL + 1, LAST_SMALL + 2]
    worker = leases.take(concurrency=1, queues=["default"])
    owner_id = Task.objects.get(id=ids[0]).owner_id
    since = changes.now()
    claimed, _more = lifecycle.claim("default", {"sum": 10}, worker_id=worker, process=7)
    assert [task.id for task in claimed] == ids
    endings = [AttemptResult(task, Status.COMPLETED, '{"result": 6}') for task in claimed]
    assert transitions.finish(endings) == set(ids)
    page = changes.read_next(owner_id, Position(since))
    assert [task.id for task in page.tasks] == ids
    listed = api.get(f"tasks/?after={LAST_SMALL}").json()["results"]
    assert [task["id"] for task in listed] == ids[1:]
    assert api.get(f"tasks/{ids[-1]}/").json()["status"] == "completed"
    leases.end(worker)
