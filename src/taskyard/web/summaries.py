"""One-line summaries of inputs and results, from the beginning of their JSON text.

The database sends only that beginning, and PostgreSQL does not decompress large values for it.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from django.db.models import F, Func, TextField, Value
from django.db.models.functions import Left

from taskyard.catalog.task_type import UnknownTaskType, registry
from taskyard.core import encryption
from taskyard.core.models import Task
from taskyard.core.querysets import TaskQuerySet
from taskyard.core.states import Status

HEAD = 300
LONGEST = 120
# The stored, compressed size in PostgreSQL; a larger value has no summary.
LARGEST_KEPT_BYTES = 16 * 1024
_KEY = re.compile(r'"([\w-]{1,60})":')


class _Head(Func):
    """The first HEAD characters of a JSON value; null if the value is too large."""

    output_field = TextField()
    template = (
        "CASE WHEN %(expressions)s IS NULL THEN 'null' "
        f"WHEN pg_column_size(%(expressions)s) <= {LARGEST_KEPT_BYTES} "
        f"THEN left((%(expressions)s)::text, {HEAD}) END"
    )

    def as_sqlite(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        template = f"coalesce(substr(%(expressions)s, 1, {HEAD}), 'null')"
        return self.as_sql(compiler, connection, template=template, **extra)


def annotate_heads(tasks: TaskQuerySet) -> TaskQuerySet:
    """Annotate each task with what `input_summary` and `outcome_summary` read."""
    return tasks.annotate(
        input_head=_Head(F("input_data")),
        result_head=_Head(F("result")),
        error_head=Left(F("error_message"), Value(HEAD)),
    )


def input_summary(task: Task) -> str:
    """The input as ``numbers: 1, 2, 3``; "" if the type's input has a secret, or was deleted."""
    head: str | None = getattr(task, "input_head", None)
    if _has_secret(task.task_type) or head == "null":
        return ""
    return one_line(head and encryption.shown_text(task.task_type, head))


def outcome_summary(task: Task) -> str:
    """The result or the error message in one line."""
    if message := getattr(task, "error_head", ""):
        return _shorten(message)
    head = getattr(task, "result_head", None)
    return "" if head == "null" or task.status != Status.COMPLETED else one_line(head)


def one_line(head: str | None) -> str:
    """Format the beginning of a JSON text, which may be cut anywhere, in one line."""
    if head is None:
        return "…"
    try:
        return _shorten(_to_text(json.loads(head)))
    except ValueError:
        return _shorten(_KEY.sub(r"\1:", head.removeprefix("{")) + "…")


def _to_text(value: Any, *, inner: bool = False) -> str:
    match value:
        case str():
            return value
        case dict() if not inner:
            return ", ".join(f"{key}: {_to_text(item, inner=True)}" for key, item in value.items())
        case list() if not any(isinstance(item, list | dict) for item in value):
            return ", ".join(_to_text(item) for item in value)
    return json.dumps(value, ensure_ascii=False)


def _shorten(text: str) -> str:
    """Shorten to LONGEST characters in one line, without bidirectional and control characters."""
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
        return any(map(_mentions_secret, schema.values()))
    return isinstance(schema, list) and any(map(_mentions_secret, schema))
