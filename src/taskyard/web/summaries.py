"""An input or a result in one short line, from the beginning of its JSON text.

The database sends no more than that beginning. PostgreSQL does not even unpack what is large.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from django.db.models import F, Func, TextField, Value
from django.db.models.functions import Left

from taskyard.catalog.task_type import UnknownTaskType, registry
from taskyard.core.models import Task
from taskyard.core.querysets import TaskQuerySet
from taskyard.core.states import Status

HEAD = 300
LONGEST = 120
# As PostgreSQL keeps it, compressed; what is larger has no summary.
LARGEST_KEPT_BYTES = 16 * 1024
_KEY = re.compile(r'"([\w-]{1,60})":')


class _Head(Func):
    """The beginning of a JSON value's text; null where that would cost much."""

    output_field = TextField()
    template = (
        "CASE WHEN %(expressions)s IS NULL THEN 'null' "
        f"WHEN pg_column_size(%(expressions)s) <= {LARGEST_KEPT_BYTES} "
        f"THEN left((%(expressions)s)::text, {HEAD}) END"
    )

    def as_sqlite(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        template = f"coalesce(substr(%(expressions)s, 1, {HEAD}), 'null')"
        return self.as_sql(compiler, connection, template=template, **extra)


def with_heads(tasks: TaskQuerySet) -> TaskQuerySet:
    """Each task with what ``of_input`` and ``of_outcome`` read."""
    return tasks.annotate(
        input_head=_Head(F("input_data")),
        result_head=_Head(F("result")),
        error_head=Left(F("error_message"), Value(HEAD)),
    )


def of_input(task: Task) -> str:
    """``numbers: 1, 2, 3``; nothing where the type's input has a secret."""
    return "" if _has_secret(task.task_type) else one_line(getattr(task, "input_head", None))


def of_outcome(task: Task) -> str:
    """The result in one line, or what went wrong."""
    if message := getattr(task, "error_head", ""):
        return _short(message)
    head = getattr(task, "result_head", None)
    return "" if head == "null" or task.status != Status.COMPLETED else one_line(head)


def one_line(head: str | None) -> str:
    if head is None:
        return "…"
    try:
        return _short(_said(json.loads(head)))
    except ValueError:
        return _short(_KEY.sub(r"\1:", head.removeprefix("{")) + "…")


def _said(value: Any, *, inner: bool = False) -> str:
    match value:
        case str():
            return value
        case dict() if not inner:
            return ", ".join(f"{key}: {_said(each, inner=True)}" for key, each in value.items())
        case list() if not any(isinstance(each, list | dict) for each in value):
            return ", ".join(_said(each) for each in value)
    return json.dumps(value, ensure_ascii=False)


def _short(text: str) -> str:
    """On one line, and without what could turn or hide the text around it."""
    plain = "".join(letter if letter.isprintable() else " " for letter in text[: 4 * LONGEST])
    line = " ".join(plain.split())
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"


def _has_secret(name: str) -> bool:
    try:
        return _mentions_secret(registry.get(name).input_schema)
    except UnknownTaskType:
        return False


def _mentions_secret(schema: Any) -> bool:
    if isinstance(schema, Mapping):
        if schema.get("format") == "password" or schema.get("writeOnly") is True:
            return True
        return any(_mentions_secret(each) for each in schema.values())
    return isinstance(schema, list) and any(map(_mentions_secret, schema))
