"""Filter and search tasks: the API, the page and the staff page share this.

No index covers the text of a task, so a text search reads the latest tasks one by one. The number
of tasks and the time are bounded; the next page goes on from there.
"""

import json
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import OperationalError, connection, transaction
from django.db.models import Func, Q, TextField
from django.db.models.functions import Cast

from taskyard.core.querysets import TaskQuerySet

# How many tasks one page looks at, and for how long.
LOOK = 5000
SECONDS = 2.0
LONGEST = 100
STEPS_BETWEEN_LOOKS = 10_000


@dataclass(frozen=True, kw_only=True)
class Criteria:
    """What a list of tasks is filtered by; a field with its default does not filter.

    The times are inclusive. ``text`` is searched for as ``containing`` does.
    """

    statuses: Collection[str] = ()
    task_type: str = ""
    queue: str = ""
    tag: str = ""
    error_code: str = ""
    created_from: datetime | None = None
    created_to: datetime | None = None
    text: str = ""

    def filter(self, tasks: TaskQuerySet) -> TaskQuerySet:
        """Those of these tasks that match."""
        if self.statuses:
            tasks = tasks.with_status(self.statuses)
        for name in ("task_type", "queue", "error_code"):
            if value := getattr(self, name):
                tasks = tasks.filter(**{name: value})
        if self.tag:
            tasks = tasks.tagged(self.tag)
        if self.created_from is not None:
            tasks = tasks.filter(created_at__gte=self.created_from)
        if self.created_to is not None:
            tasks = tasks.filter(created_at__lte=self.created_to)
        return containing(tasks, self.text) if self.text else tasks


class _Message(Func):
    """The message of a progress."""

    output_field = TextField()
    template = "((%(expressions)s)::jsonb ->> 'message')"

    def as_sqlite(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        template = "json_extract(%(expressions)s, '$.message')"
        return self.as_sql(compiler, connection, template=template, **extra)


class TookTooLong(Exception):
    """The search took longer than its time limit."""


def containing(tasks: TaskQuerySet, text: str) -> TaskQuerySet:
    """Those with this text in their input, messages or tags."""
    tasks = tasks.annotate(
        input_text=Cast("input_data", TextField()),
        tags_text=Cast("tags", TextField()),
        progress_text=_Message("progress"),
    )
    found = Q()
    for spelling in _spellings(text):
        found |= Q(error_message__icontains=spelling) | Q(progress_text__icontains=spelling)
        # The text as JSON spells it.
        for ascii_only in (False, True):
            inside = json.dumps(spelling, ensure_ascii=ascii_only)[1:-1]
            found |= Q(input_text__icontains=inside) | Q(tags_text__icontains=inside)
    return tasks.filter(found)


def _spellings(text: str) -> set[str]:
    """What to search for: SQLite, and PostgreSQL with locale C, fold only ASCII letters."""
    return {text} if text.isascii() else {text, text.lower(), text.upper(), text.capitalize()}


@contextmanager
def bounded(seconds: float = SECONDS) -> Iterator[None]:
    """Limit the time of the queries in this block, in all. Raises TookTooLong."""
    try:
        with _on_sqlite(seconds) if connection.vendor == "sqlite" else _on_postgresql(seconds):
            yield
    except OperationalError as error:
        code = getattr(error.__cause__, "sqlstate", "")
        if code == "57014" or "interrupted" in str(error):
            raise TookTooLong from None
        raise


@contextmanager
def _on_postgresql(seconds: float) -> Iterator[None]:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "SELECT set_config('statement_timeout', %s, true)", [f"{seconds * 1000:.0f}"]
        )
        yield


@contextmanager
def _on_sqlite(seconds: float) -> Iterator[None]:
    connection.ensure_connection()
    raw = connection.connection
    until = time.monotonic() + seconds
    raw.set_progress_handler(lambda: time.monotonic() > until, STEPS_BETWEEN_LOOKS)
    try:
        yield
    finally:
        raw.set_progress_handler(None, 0)
