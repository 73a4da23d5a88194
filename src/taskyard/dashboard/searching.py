"""Search in the text of one owner's tasks: bounded by how many are looked at, and by time.

No index knows these texts, so each of the latest tasks is read. Who has more goes on from there.
"""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import OperationalError, connection, transaction
from django.db.models import Func, Q, TextField
from django.db.models.functions import Cast

from taskyard.core.querysets import TaskQuerySet

# So many tasks are looked at for one page, and for so long.
LOOK = 5000
SECONDS = 2.0
LONGEST = 100
STEPS_BETWEEN_LOOKS = 10_000


class _Message(Func):
    """The message of a progress."""

    output_field = TextField()
    template = "((%(expressions)s)::jsonb ->> 'message')"

    def as_sqlite(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        template = "json_extract(%(expressions)s, '$.message')"
        return self.as_sql(compiler, connection, template=template, **extra)


class TookTooLong(Exception):
    """The search was given up."""


def matching(tasks: TaskQuerySet, text: str) -> TaskQuerySet:
    """Those with this text in input, messages or tags."""
    tasks = tasks.annotate(
        input_text=Cast("input_data", TextField()),
        tags_text=Cast("tags", TextField()),
        progress_text=_Message("progress"),
    )
    found = Q()
    for spelling in _spellings(text):
        found |= Q(error_message__icontains=spelling) | Q(progress_text__icontains=spelling)
        # As it is written in JSON.
        for ascii_only in (False, True):
            inside = json.dumps(spelling, ensure_ascii=ascii_only)[1:-1]
            found |= Q(input_text__icontains=inside) | Q(tags_text__icontains=inside)
    return tasks.filter(found)


def _spellings(text: str) -> set[str]:
    """SQLite, and PostgreSQL with the locale C, know capital letters of English only."""
    return {text} if text.isascii() else {text, text.lower(), text.upper(), text.capitalize()}


@contextmanager
def bounded(seconds: float = SECONDS) -> Iterator[None]:
    """Queries within may take so long in all. Raises TookTooLong."""
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
