"""Queries for tasks and workers. Nothing here changes a row."""

from collections.abc import Iterable
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

from django.db import connection
from django.db.models import BooleanField, F, FloatField, Func, QuerySet, Value
from django.db.models.expressions import RawSQL
from django.db.models.functions import Now

from taskyard.core.states import ACTIVE, FAILED
from taskyard.core.types import UserId

if TYPE_CHECKING:
    from taskyard.core.models import Share, Task, Worker  # noqa: F401


class HasTag(Func):
    """Whether a JSON list contains a string; the two databases differ."""

    output_field = BooleanField()
    arity = 2

    def as_postgresql(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        return super().as_sql(
            compiler, connection, template="(%(expressions)s)", arg_joiner=" ? ", **extra
        )

    def as_sqlite(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        column, column_params = compiler.compile(self.source_expressions[0])
        tag, tag_params = compiler.compile(self.source_expressions[1])
        sql = f"EXISTS (SELECT 1 FROM json_each({column}) WHERE value = {tag})"  # noqa: S608
        return sql, (*column_params, *tag_params)


class Seconds(Func):
    """From the second of two times until the first, in seconds; NULL if one of them is NULL.

    SQLite's functions count milliseconds.
    """

    output_field = FloatField()
    arity = 2
    template = "date_part('epoch', %(expressions)s)"
    arg_joiner = " - "

    def as_sqlite(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        (later, later_params), (earlier, earlier_params) = map(
            compiler.compile, self.source_expressions
        )
        sql = f"round((julianday({later}) - julianday({earlier})) * 86400.0, 3)"
        return sql, (*later_params, *earlier_params)


class TaskQuerySet(QuerySet["Task"]):
    def owned_by(self, user_id: UserId) -> "TaskQuerySet":
        """The tasks that this user owns; other users do not see that they exist.

        No user owns the system tasks, also not one without an id.
        """
        return self.none() if user_id is None else self.filter(owner_id=user_id)

    def get_owned(self, user_id: UserId, task_id: int) -> "Task | None":
        """This task, if this user owns it; its checkpoint is deferred.

        Clients poll this, so the SQL text is cached: to build it takes three times as long as to
        run it. Filters of this query set are ignored; ``task_id`` must fit into 64 bits.
        """
        owner = self.model._meta.get_field("owner").get_db_prep_value(user_id, connection)
        return next(iter(self.raw(_reading_one(self.model), [owner, task_id])), None)

    def active(self) -> "TaskQuerySet":
        """Those that hold a quota place."""
        return self.filter(finished_at=None)

    def ended(self) -> "TaskQuerySet":
        """Those in a terminal state."""
        return self.filter(finished_at__isnull=False)

    def with_status(self, statuses: Iterable[str]) -> "TaskQuerySet":
        """Those in one of these states; active and failed tasks are found by their own index."""
        wanted = set(statuses)
        found = self.filter(status__in=sorted(wanted))
        if wanted <= ACTIVE:
            return found.active()
        return found.failed() if wanted <= FAILED else found

    def failed(self) -> "TaskQuerySet":
        """Those that ended in error or were cancelled, by their index. These can be retried."""
        # Literally the condition of the index, or else SQLite does not use the index.
        condition = RawSQL(
            "taskyard_task.status IN ('cancelled', 'error')", [], output_field=BooleanField()
        )
        return self.filter(condition)

    def tagged(self, tag: str) -> "TaskQuerySet":
        """Those that carry this tag."""
        return self.filter(HasTag(F("tags"), Value(tag)))

    def lock_skipping(self) -> "TaskQuerySet":
        """Lock them in the order of ids until the transaction ends; skip those that are locked."""
        return self.select_for_update(skip_locked=True, of=("self",)).order_by("id")

    def ready_in(self, queues: Iterable[str]) -> "TaskQuerySet":
        """Those in these queues that a worker may claim now."""
        return self.filter(ready=True, queue__in=list(queues))

    def due_to_wake(self) -> "TaskQuerySet":
        """Those that are delayed, backing off or suspended, and whose ``wake_at`` has come."""
        return self.filter(wake_at__lte=Now())

    def lost(self, alive: "WorkerQuerySet") -> "TaskQuerySet":
        """Those held by a worker that is not in ``alive``: its lease ran out, or it is gone."""
        held = self.filter(worker_id__isnull=False)
        return held.exclude(worker_id__in=alive.values("id"))

    def held_by_attempt(self, task_id: int, fence: int) -> "TaskQuerySet":
        """The task, if the claim with this fence still holds it."""
        return self.filter(id=task_id, fence=fence, worker_id__isnull=False)

    def past_cancel_grace(self, worker_id: int, grace_seconds: float) -> "TaskQuerySet":
        """Those that this worker still holds ``grace_seconds`` after their cancel was requested."""
        limit = Now() - timedelta(seconds=grace_seconds)
        return self.filter(worker_id=worker_id, cancel_requested_at__lt=limit)

    def dropped_by(self, worker_id: int, alive: Iterable[int]) -> "TaskQuerySet":
        """Those held by a process of this worker that is not in ``alive``."""
        return self.filter(worker_id=worker_id).exclude(process__in=list(alive))


@cache
def _reading_one(task: "type[Task]") -> str:
    columns = [str(f.column) for f in task._meta.concrete_fields if f.name != "checkpoint"]
    table = task._meta.db_table
    return f"SELECT {', '.join(columns)} FROM {table} WHERE owner_id = %s AND id = %s"  # noqa: S608


class ShareQuerySet(QuerySet["Share"]):
    def free(self) -> list[int]:
        """The ids of those that no other transaction has locked; they are locked from now on."""
        locked = self.select_for_update(skip_locked=True, of=("self",)).order_by("id")
        return list(locked.values_list("id", flat=True))


class WorkerQuerySet(QuerySet["Worker"]):
    def alive(self) -> "WorkerQuerySet":
        """Those whose lease has not run out, by the database's clock."""
        return self.filter(lease_until__gt=Now())
