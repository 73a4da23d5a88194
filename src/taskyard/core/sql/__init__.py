"""The statements of the hot path, where PostgreSQL and SQLite differ: side by side, same names.

Rows travel as one JSON parameter, so a statement for one task and for a thousand is the same.
"""

from collections.abc import Iterable
from types import ModuleType

import orjson
from django.db import connection

from taskyard.core.sql import postgresql, sqlite
from taskyard.core.states import TERMINAL
from taskyard.core.values import Ending


def dialect() -> ModuleType:
    return postgresql if connection.vendor == "postgresql" else sqlite


def rows_of(endings: Iterable[Ending]) -> str:
    """Endings as the rows of a statement; what is JSON text already goes in as it is.

    What is as usual is left out: a database reads every word of it.
    """
    rows = []
    for end in endings:
        row: dict[str, object] = {
            "id": end.task.id,
            "fence": end.task.fence,
            "attempt": end.task.attempt,
            "status": end.status.value,
        }
        if end.status in TERMINAL:
            row["terminal"] = True
            row["result"] = orjson.Fragment(end.result)
        else:
            row["ready"] = end.wake_at is None
            row["wake_at"] = end.wake_at and dialect().moment(end.wake_at)
            row["resumes"] = end.resumes
        if end.error_code:
            row["error_code"] = end.error_code
            row["error_message"] = end.error_message
        if end.progress != "null":
            row["progress"] = orjson.Fragment(end.progress)
        if end.checkpoint != "null" or end.slept:
            row["checkpoint"] = orjson.Fragment(end.checkpoint)
            row["slept"] = end.slept
        rows.append(row)
    return orjson.dumps(rows).decode()
