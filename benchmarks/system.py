"""A live system of its own for a benchmark, on the database that TEST_DB names."""

import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg

from tests import servers
from tests.live_system import Live

NO_LIMITS = {
    "TASKYARD_ACTIVE_LIMIT": "1000000",
    "TASKYARD_SUBMIT_RATE": "999999999/s",
    "TASKYARD_BYTES_PER_USER": "1000 TiB",
}
# How many tasks have not ended.
COUNT_ACTIVE = "SELECT coalesce(sum(active), 0) FROM taskyard_quota"


@contextmanager
def running(**environment: str) -> Iterator[Live]:
    """Web, one worker of two processes, broker and database; no limit that a benchmark meets."""
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="taskyard-bench-")))
        given = {**NO_LIMITS, "TASKYARD_REGISTER_RATE": "1000000/hour", **environment}
        if os.environ.get("TEST_DB") == "postgresql":
            server = stack.enter_context(servers.postgresql())
            given["DATABASE_URL"] = stack.enter_context(servers.database(server))
        yield stack.enter_context(Live(home, given))


Ask = Callable[[str], list[tuple[Any, ...]]]


@contextmanager
def books(live: Live) -> Iterator[Ask]:
    """Query the system's database directly: `ask("SELECT …")`."""
    if url := live.env.get("DATABASE_URL"):
        with psycopg.connect(url, autocommit=True) as server:
            yield lambda statement: server.execute(statement.encode()).fetchall()
        return
    with closing(sqlite3.connect(live.home / "taskyard.sqlite3", timeout=30)) as file:
        yield lambda statement: file.execute(statement).fetchall()


FILL = """
from taskyard.accounts.models import User
from taskyard.core import lifecycle
from taskyard.core.types import NewTask
count, owners = {count}, {owners}
known = list(User.objects.filter(username__startswith="owner-").order_by("id")[:owners])
made = [User(username=f"owner-{{n}}", password="!") for n in range(len(known), owners)]
known += User.objects.bulk_create(made)
share = -(-count // owners)
left = count
for user in known:
    new = [
        NewTask(task_type="sum", queue="default", input_data={{"numbers": [n, 1]}})
        for n in range(min(share, left))
    ]
    left -= len(new)
    for first in range(0, len(new), 1000):
        lifecycle.submit_all(user.pk, new[first:first + 1000])
"""


def fill(live: Live, count: int, owners: int) -> int:
    """Submit `count` sums of these owners, as the web does; return the last id before them."""
    with books(live) as ask:
        last = ask("SELECT coalesce(max(id), 0) FROM taskyard_task")[0][0]
    live.command("manage", "shell", "--no-imports", "-c", FILL.format(count=count, owners=owners))
    return int(last)
