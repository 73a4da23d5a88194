"""The statements of the hot path, where PostgreSQL and SQLite differ: side by side, same names.

Rows travel as one JSON parameter, so a statement for one task and for a thousand is the same.
"""

import json
from collections.abc import Iterable
from functools import cache
from types import ModuleType

import orjson
from django.db import connection, transaction
from django.db.models import SET_NULL

from taskyard.core.engine import postgresql, sqlite
from taskyard.core.models import Task
from taskyard.core.states import TERMINAL
from taskyard.core.types import DEFAULTS, AttemptResult, NewTask


def dialect() -> ModuleType:
    return postgresql if connection.vendor == "postgresql" else sqlite


# What is smaller is within what a row counts anyway.
NOTEWORTHY_BYTES = 256
WRITE_NOTHING = """
INSERT INTO taskyard_clock (id, ticks) VALUES (1, 0)
ON CONFLICT (id) DO UPDATE SET ticks = taskyard_clock.ticks
"""


def prove_writable() -> None:
    """Commit a write that leaves everything as it was. Raises what a submit would raise."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(WRITE_NOTHING)


def forget(task_ids: list[int]) -> None:
    """Delete tasks that this transaction has locked, and all that belongs to them, by set."""
    sql = dialect()
    with connection.cursor() as cursor:
        for statement in _forget_statements():
            cursor.execute(statement.format(ids=sql.AMONG), [sql.ids(task_ids)])


@cache
def _forget_statements() -> list[str]:
    """What refers to a task goes first, a host project's models included."""
    tables = [
        (relation.related_model._meta.db_table, relation.field.column, relation.on_delete)
        for relation in Task._meta.related_objects
    ]
    return [
        f"UPDATE {table} SET {column} = NULL WHERE {column} {{ids}}"  # noqa: S608
        if on_delete is SET_NULL
        else f"DELETE FROM {table} WHERE {column} {{ids}}"  # noqa: S608
        for table, column, on_delete in tables
    ] + ["DELETE FROM taskyard_task WHERE id {ids}"]


def rows_of_new(new: Iterable[NewTask]) -> str:
    """New tasks as the rows of a statement; raises ValueError for a NaN or an infinity.

    What is as usual is left out: a database reads every word of it.
    """
    rows = []
    for each in new:
        row = {name: value for name, value in each._asdict().items() if value != DEFAULTS.get(name)}
        if each.run_at is not None:
            row["run_at"] = dialect().moment(each.run_at)
        rows.append(row)
    try:
        text = orjson.dumps(rows)
    except TypeError:  # integers beyond 64 bits
        text = b"null"
    if b"null" not in text:
        return text.decode()
    # In the place of a null there may have been a NaN.
    return json.dumps(rows, ensure_ascii=False, allow_nan=False)


def rows_of(endings: Iterable[AttemptResult]) -> str:
    """Endings as the rows of a statement; what is JSON text already goes in as it is."""
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
            if len(end.result) > NOTEWORTHY_BYTES:
                row["bytes"] = len(end.result)
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
