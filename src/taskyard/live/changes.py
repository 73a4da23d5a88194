"""What changed for an owner between two moments, read from the database page by page.

A cursor (``core.engine``) names a moment. A position is how far one reader has come: it may be in
the middle of an interval, so that a stream that is cut there goes on with the very next task.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from django.db import DataError
from django.db.models import F, Q

from taskyard.core.engine import dialect
from taskyard.core.models import Task

PAGE = 100
# Owners asked for in one query, which databases bound.
OWNERS = 1000
LONGEST_ID = 8000
LARGEST = 2**63 - 1

_CURSOR = r"[0-9]{1,19}(?::[0-9]{1,19}:(?:[0-9]{1,19}(?:,[0-9]{1,19})*)?)?"
_POSITION = re.compile(rf"(?:({_CURSOR})|({_CURSOR})?/({_CURSOR})/([0-9]{{1,19}}))")


@dataclass(frozen=True)
class Position:
    """All that ``since`` shows, and of what ``until`` shows besides, the tasks up to ``upto``.

    Without ``since`` nothing is known, and what comes first is the current state.
    """

    since: str = ""
    until: str = ""
    upto: int = 0

    def __str__(self) -> str:
        return f"{self.since}/{self.until}/{self.upto}" if self.until else self.since

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """A position as it was written down; None for what nobody of ours has written."""
        found = _POSITION.fullmatch(text) if len(text) <= LONGEST_ID else None
        if found is None:
            return None
        plain, since, until, upto = found.groups()
        position = cls(plain) if plain else cls(since or "", until, int(upto))
        numbers = (int(number) for number in re.findall("[0-9]+", text))
        return position if max(numbers) <= LARGEST else None

    def is_past(self, now: str) -> bool:
        """Whether this was written by the database whose moment ``now`` is, and not after it."""
        cursors = [cursor for cursor in (self.since, self.until) if cursor]
        return all(
            cursor.count(":") == now.count(":") and _end(cursor) <= _end(now) for cursor in cursors
        )


@dataclass(frozen=True)
class Page:
    """Tasks by ascending id. ``after`` is the position when all of them have been delivered."""

    tasks: list[Task]
    before: Position
    after: Position

    @property
    def is_last(self) -> bool:
        """Whether nothing more had changed when the interval's end was taken."""
        return not self.after.until

    def position_at(self, task_id: int) -> Position:
        """How far a reader has come with this task, when others of the page follow."""
        return Position(self.before.since, self.before.until, task_id)


def resume(owner_id: int, position: Position | None, task_id: int | None) -> Page:
    """The first page of a reader who names a position; it counts as none if it cannot be used."""
    if position is not None and position.is_past(dialect().cursor()):
        try:
            return read(owner_id, position, task_id)
        except DataError:
            pass  # of the right shape, but not a snapshot that could have been
    return read(owner_id, Position(), task_id)


def read(owner_id: int, position: Position, task_id: int | None = None) -> Page:
    """What comes next after a position, of all the owner's tasks or of one.

    With nothing known: the active tasks, or the one task whatever its state.
    """
    sql = dialect()
    before = Position(position.since, position.until or sql.cursor(), position.upto)
    tasks = Task.objects.owned_by(owner_id).filter(id__gt=before.upto).defer("checkpoint")
    if task_id is not None:
        tasks = tasks.filter(id=task_id)
    if before.since:
        tasks = tasks.filter(sql.between(before.since, before.until))
    elif task_id is None:
        tasks = tasks.active()
    # A short interval is found by what changed; the sum keeps planners from walking all ids.
    by_change = before.since and not before.upto
    found = list(tasks.order_by(F("id") + 0 if by_change else "id")[:PAGE])
    after = Position(before.until)
    if len(found) == PAGE:
        after = Position(before.since, before.until, found[-1].pk)
    # What has changed since ``until`` was taken belongs to the next interval.
    return Page([task for task in found if shows(before.until, task.changed)], before, after)


def changed_owners(owners: Sequence[int], since: str) -> tuple[str, dict[int, set[int]]]:
    """Now, and which changes there were since, by owner, of these owners' tasks."""
    sql = dialect()
    until: str = sql.cursor()
    changed: Q = sql.between(since, until)
    found: dict[int, set[int]] = {}
    for start in range(0, len(owners), OWNERS):
        some = Task.objects.filter(changed, owner_id__in=owners[start : start + OWNERS])
        for owner_id, change in some.order_by().values_list("owner_id", "changed").distinct():
            found.setdefault(owner_id, set()).add(change)
    return until, found


def now() -> str:
    """The cursor of this moment."""
    cursor: str = dialect().cursor()
    return cursor


def shows(cursor: str, changed: int) -> bool:
    """Whether a change is among what a cursor's moment shows.

    PostgreSQL's cursor is a snapshot, ``xmin:xmax:xip,…``; SQLite's is the last tick.
    """
    running = cursor.rpartition(":")[2].split(",") if ":" in cursor else ()
    return changed < _end(cursor) and str(changed) not in running


def _end(cursor: str) -> int:
    """The first number that the moment cannot show."""
    return int(cursor.split(":")[1]) if ":" in cursor else int(cursor) + 1
