"""A live system of its own for a benchmark, on the database that TEST_DB names."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests import servers
from tests.running import Live


@contextmanager
def running(**environment: str) -> Iterator[Live]:
    """Web, one worker of two processes, broker and database; no limit that a benchmark meets."""
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="taskyard-bench-")))
        given = {
            "TASKYARD_ACTIVE_LIMIT": "1000000",
            "TASKYARD_REGISTER_RATE": "1000000/hour",
            **environment,
        }
        if os.environ.get("TEST_DB") == "postgresql":
            server = stack.enter_context(servers.postgresql())
            given["DATABASE_URL"] = stack.enter_context(servers.database(server))
        yield stack.enter_context(Live(home, given))
