"""The statements of the hot path, for PostgreSQL and for SQLite.

Each database has a module with the functions of ``Engine``. Rows travel as one JSON parameter, so
the statement for one task and for a thousand is the same.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any, Protocol

from django.db import connection, transaction
from django.db.models import DO_NOTHING, SET_NULL, Func, ManyToOneRel, Q
from django.db.models.deletion import Collector
from django.db.models.expressions import RawSQL

from taskyard.core.engine import postgresql, sqlite
from taskyard.core.engine.rows import ChosenOwners, Claimed, Locked, SubmittedRow, Waiter
from taskyard.core.models import Task
from taskyard.core.proofs import Proof
from taskyard.core.states import Status
from taskyard.core.types import AttemptResult, NewTask, UserId

__all__ = [
    "ChosenOwners",
    "Claimed",
    "Engine",
    "Locked",
    "SubmittedRow",
    "Waiter",
    "delete_tasks",
    "engine",
    "prove_writable",
]


class Engine(Protocol):
    """What a module for a database offers. Each change is atomic by itself."""

    # The condition of a column that has one of the ids in the parameter ``ids``.
    ID_IN: str

    def submit(self, params: dict[str, Any], proof: Proof | None = None) -> list[SubmittedRow]:
        """Take the quota places and insert the tasks; no row if the quota does not allow all.

        The ``proof``, if there is one, must hold too. ``params``: ``owner`` (id), ``rows`` (of
        ``rows_of_new``), ``count`` of the rows, ``size`` of each in bytes, ``limit`` of active
        tasks for owners without an own one, and what ``allowance.bounds`` returns.
        """

    def insert(self, new: Sequence[NewTask], rows: str, size: int) -> list[SubmittedRow]:
        """Insert system tasks: also as ``rows`` (of ``rows_of_new``), ``size`` of each in bytes."""

    def claim(
        self,
        queue: str,
        batch_sizes: dict[str, int],
        chosen: ChosenOwners | None,
        *,
        worker_id: int,
        process: int,
    ) -> Claimed:
        """Claim the next ready tasks of a queue for a process.

        If no owners are ``chosen``, nothing is claimed if several wait for more than can be taken.
        """

    def lock(self, queue: str, batch_sizes: dict[str, int], chosen: ChosenOwners | None) -> Locked:
        """Lock the next ready tasks of a queue for this transaction; like ``claim``."""

    def waiting(
        self, queue: str, band: int, most: int, *, after: UserId | None = None
    ) -> list[Waiter]:
        """The owners with ready tasks in a band of a queue, at most so many and the system.

        With ``after``, only owners whose ids come after that one.
        """

    def add_used(self, queue: str, seconds: Mapping[UserId | None, float]) -> None:
        """Add to what owners have used of a queue; those that have no share are left out."""

    def finish(self, results: Sequence[AttemptResult]) -> dict[int, UserId | None]:
        """Write how claimed attempts ended, and release the places of the tasks that ended.

        Returns the owner's id by the task's id, for each attempt that was still current.
        """

    def finish_unclaimed(self, results: Sequence[AttemptResult]) -> dict[int, UserId | None]:
        """Write claim and end of tasks that ``lock`` has locked; otherwise like ``finish``."""

    def release(self, ended: Sequence[tuple[UserId | None, Status]]) -> None:
        """Release a quota place for each task that ended: the owner's id and the status.

        System tasks hold no place.
        """

    def change(self) -> Func | int:
        """The number of this transaction, for the column ``changed``."""

    def snapshot(self) -> str:
        """What is visible now, as text that ``between`` and ``ended_between`` take."""

    def between(self, since: str, until: str) -> Q:
        """Tasks whose last change the snapshot ``until`` shows and ``since`` does not show."""

    def ended_between(self, since: str, until: str) -> Q:
        """The same for tasks that ended: one range for each owner in the index ``task_ended``."""

    def step(self, since: str, until: str, most: int) -> str:
        """A snapshot after ``since``, at most ``most`` transactions later and not after ``until``.

        It shows everything that ``since`` shows, and nothing that ``until`` does not show.
        """

    def wait_for_locks(self, seconds: float) -> None:
        """Let this transaction wait no longer than this for each lock."""

    def id_in(self, task_ids: list[int]) -> RawSQL:
        """Tasks with these ids: one parameter for any number, and an index look-up for each."""

    def ids(self, task_ids: list[int]) -> str:
        """The parameter of ``ID_IN``."""

    def moment(self, when: datetime) -> str:
        """A time as the JSON rows carry it."""


@cache
def engine() -> Engine:
    """The engine of the database in use: always the default one, whose vendor never changes."""
    # Not a conditional expression, which mypy does not check against the protocol.
    if connection.vendor == "postgresql":
        return postgresql
    return sqlite


# Write a row of our own without changing it.
WRITE_NOTHING = """
INSERT INTO taskyard_clock (id, ticks) VALUES (1, 0)
ON CONFLICT (id) DO UPDATE SET ticks = taskyard_clock.ticks
"""


def prove_writable() -> None:
    """Commit a write that leaves everything as it was. Raises what a submit would raise."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(WRITE_NOTHING)


def delete_tasks(task_ids: list[int], *, with_files: list[int]) -> None:
    """Delete tasks that this transaction has locked, and all that belongs to them, by set.

    ``with_files`` are those of them that have files. Rows of a host project follow their
    ``on_delete``. Raises ProtectedError, RestrictedError.
    """
    current = engine()
    _release_host_rows(task_ids)
    with connection.cursor() as cursor:
        if with_files:
            for statement in _delete_statements(of_files=True):
                cursor.execute(statement.format(in_ids=current.ID_IN), [current.ids(with_files)])
        for statement in _delete_statements(of_files=False):
            cursor.execute(statement.format(in_ids=current.ID_IN), [current.ids(task_ids)])


def _release_host_rows(task_ids: list[int]) -> None:
    """Do to the rows of a host project what Django does to them when tasks are deleted."""
    relations = _relations(ours=False)
    if not relations:
        return
    collector = Collector(using=connection.alias)
    for relation in relations:
        referring = {f"{relation.field.name}__in": task_ids}
        rows = relation.related_model._base_manager.filter(**referring)
        if relation.on_delete is not DO_NOTHING and rows.exists():
            relation.on_delete(collector, relation.field, rows, connection.alias)
    collector.delete()


@cache
def _relations(*, ours: bool) -> list[Any]:
    """The foreign keys to tasks, also hidden ones (``related_name="+"``): ours, or a host's."""
    return [
        relation
        for relation in Task._meta.get_fields(include_hidden=True)
        if isinstance(relation, ManyToOneRel)
        and relation.related_model.__module__.startswith("taskyard.") == ours
    ]


@cache
def _delete_statements(*, of_files: bool) -> list[str]:
    """Delete or detach our rows that refer to tasks: those of files; or the others, and the tasks.

    Most tasks have no files.
    """
    tables = [
        (relation.related_model._meta.db_table, relation.field.column, relation.on_delete)
        for relation in _relations(ours=True)
        if (relation.related_model._meta.app_label == "taskyard_files") == of_files
    ]
    statements = [
        f"UPDATE {table} SET {column} = NULL WHERE {column} {{in_ids}}"  # noqa: S608
        if on_delete is SET_NULL
        else f"DELETE FROM {table} WHERE {column} {{in_ids}}"  # noqa: S608
        for table, column, on_delete in tables
    ]
    return statements if of_files else [*statements, "DELETE FROM taskyard_task WHERE id {in_ids}"]
