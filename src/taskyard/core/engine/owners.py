"""Owner ids in the statements: the primary key of the user model, as its column holds it.

The user model of a host project may have a UUID or a text as its key; SQLite holds a UUID as 32
hexadecimal digits. Statements name the column's type only in JSON rows.
"""

from collections.abc import Iterable
from functools import cache
from typing import Any, TypeVar

from django.db import connection

from taskyard.core.engine.rows import ClaimedRow, LockedRow, Waiter
from taskyard.core.models import Task
from taskyard.core.types import UserId


def column_type() -> str:
    """The type of the column ``owner_id``, such as bigint or uuid."""
    return str(_field().db_type(connection))


def to_column(owner_id: UserId) -> Any:
    """The id as a parameter of a statement."""
    return _field().get_db_prep_value(owner_id, connection)


Row = TypeVar("Row", ClaimedRow, LockedRow, Waiter)


def of_rows(rows: list[Row]) -> list[Row]:
    """The rows, each with the owner's id instead of the column's value."""
    if not _converters():
        return rows
    return [row._replace(owner_id=_from_column(row.owner_id)) for row in rows]


def by_task(rows: Iterable[tuple[int, Any]]) -> dict[int, UserId | None]:
    """Owner ids by task id; ``rows`` are task ids and values of the column."""
    if not _converters():
        return dict(rows)
    return {task_id: _from_column(value) for task_id, value in rows}


def _from_column(value: Any) -> UserId | None:
    for convert, expression in _converters():
        value = convert(value, expression, connection)
    return value


@cache
def _field() -> Any:
    return Task._meta.get_field("owner")


@cache
def _converters() -> list[tuple[Any, Any]]:
    """What Django calls on a value of this column; nothing for integers."""
    column = _field().get_col(Task._meta.db_table)
    functions = [
        *connection.ops.get_db_converters(column),
        *column.get_db_converters(connection),
    ]
    return [(function, column) for function in functions]
