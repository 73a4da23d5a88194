"""Read from the database, page by page, which tasks of an owner have changed since a position.

A snapshot (``engine().snapshot()``) names a moment. A position says how far one reader has read. It
can be in the middle of an interval between two snapshots, so that a stream that is cut there
continues with the next task.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from django.db import DataError
from django.db.models import F, Q

from taskyard.core.engine import engine
from taskyard.core.models import Task
from taskyard.core.types import LARGEST_ID, UserId

PAGE_SIZE = 100
# Databases limit the number of values in one query.
OWNERS_PER_QUERY = 1000
LONGEST_POSITION = 8000

_CURSOR = r"[0-9]{1,19}(?::[0-9]{1,19}:(?:[0-9]{1,19}(?:,[0-9]{1,19})*)?)?"
_POSITION = re.compile(rf"(?:({_CURSOR})|({_CURSOR})?/({_CURSOR})/([0-9]{{1,19}}))")


@dataclass(frozen=True)
class Position:
    """The reader has all changes that ``since`` shows, and some of those that ``until`` shows.

    Of the latter it has those of the tasks with ids up to ``upto``. Without ``since`` the reader
    has nothing and gets the current state first.
    """

    since: str = ""
    until: str = ""
    upto: int = 0

    def __str__(self) -> str:
        return f"{self.since}/{self.until}/{self.upto}" if self.until else self.since

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """The position of this text, as ``str`` makes it; None for any other text."""
        match = _POSITION.fullmatch(text) if len(text) <= LONGEST_POSITION else None
        if match is None:
            return None
        plain, since, until, upto = match.groups()
        position = cls(plain) if plain else cls(since or "", until, int(upto))
        numbers = (int(number) for number in re.findall("[0-9]+", text))
        return position if max(numbers) <= LARGEST_ID else None

    def is_past(self, now: str) -> bool:
        """Whether the position is of the same database as the cursor ``now`` and not after it."""
        cursors = [cursor for cursor in (self.since, self.until) if cursor]
        return all(
            cursor.count(":") == now.count(":") and _end(cursor) <= _end(now) for cursor in cursors
        )


@dataclass(frozen=True)
class ChangedTasks:
    """One page of changed tasks by ascending id.

    ``before`` is the reader's position before it, ``after`` when it has all tasks of the page.
    """

    tasks: list[Task]
    before: Position
    after: Position

    @property
    def is_last(self) -> bool:
        """Whether the page reaches the end of its interval."""
        return not self.after.until

    def position_at(self, task_id: int) -> Position:
        """The reader's position after this task, when others of the page follow."""
        return Position(self.before.since, self.before.until, task_id)


def read_from(owner_id: UserId, position: Position | None, task_id: int | None) -> ChangedTasks:
    """The first page of a reader. A position that this database cannot use counts as none."""
    if position is not None and position.is_past(engine().snapshot()):
        try:
            return read_next(owner_id, position, task_id)
        except DataError:
            pass  # it looks like a snapshot, but PostgreSQL does not accept it
    return read_next(owner_id, Position(), task_id)


def read_next(owner_id: UserId, position: Position, task_id: int | None = None) -> ChangedTasks:
    """The page after a position, of all tasks of the owner or of one.

    After an empty position: the active tasks, or the one task in any state.
    """
    database = engine()
    before = Position(position.since, position.until or database.snapshot(), position.upto)
    tasks = Task.objects.owned_by(owner_id).filter(id__gt=before.upto).defer("checkpoint")
    if task_id is not None:
        tasks = tasks.filter(id=task_id)
    if before.since:
        tasks = tasks.filter(database.between(before.since, before.until))
    elif task_id is None:
        tasks = tasks.active()
    # For a short interval the index on changes is best; ``id + 0`` keeps planners from reading all
    # ids in order instead.
    by_change = before.since and not before.upto
    rows = list(tasks.order_by(F("id") + 0 if by_change else "id")[:PAGE_SIZE])
    after = Position(before.until)
    if len(rows) == PAGE_SIZE:
        after = Position(before.since, before.until, rows[-1].pk)
    # A task that has changed after ``until`` belongs to the next interval.
    shown = [task for task in rows if shows(before.until, task.changed)]
    return ChangedTasks(shown, before, after)


def changed_owners(owners: Sequence[UserId], since: str) -> tuple[str, dict[UserId, set[int]]]:
    """The cursor of now, and the changes of these owners' tasks since a cursor, by owner."""
    database = engine()
    until: str = database.snapshot()
    changed: Q = database.between(since, until)
    changes: dict[UserId, set[int]] = {}
    for start in range(0, len(owners), OWNERS_PER_QUERY):
        tasks = Task.objects.filter(changed, owner_id__in=owners[start : start + OWNERS_PER_QUERY])
        for owner_id, change in tasks.order_by().values_list("owner_id", "changed").distinct():
            changes.setdefault(owner_id, set()).add(change)
    return until, changes


def now() -> str:
    """The cursor of this moment."""
    cursor: str = engine().snapshot()
    return cursor


def shows(cursor: str, changed: int) -> bool:
    """Whether a change is visible at the moment of a cursor.

    PostgreSQL's cursor is a snapshot, ``xmin:xmax:xip,…``; SQLite's is the last tick.
    """
    running = cursor.rpartition(":")[2].split(",") if ":" in cursor else ()
    return changed < _end(cursor) and str(changed) not in running


def _end(cursor: str) -> int:
    """The first change that is not visible at the moment of a cursor."""
    return int(cursor.split(":")[1]) if ":" in cursor else int(cursor) + 1
