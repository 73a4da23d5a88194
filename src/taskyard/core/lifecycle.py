"""Every change of a task's state. The only writer; each change is guarded and happens once.

Claims and ends of attempts are guarded by the fence; whoever comes late changes nothing and is
told so. The order of locks is always tasks, then accounts.
"""

import json
import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import orjson
from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now
from django.utils.module_loading import import_string

from taskyard.core.errors import ActiveLimitExceeded
from taskyard.core.models import Account, Attempt, Task
from taskyard.core.querysets import TaskQuerySet
from taskyard.core.sql import dialect
from taskyard.core.states import ACTIVE, TERMINAL, Priority, Status

SWEEP = 1000
WORKER_LOST = "The worker was lost while it ran the task."
logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class NewTask:
    """What is asked for; ``timeout_seconds`` is an attempt's, ``run_at`` is aware."""

    task_type: str
    queue: str
    input_data: dict[str, Any]
    priority: int = Priority.NORMAL
    max_attempts: int = 3
    timeout_seconds: float | None = None
    tags: tuple[str, ...] = ()
    run_at: datetime | None = None
    retry_of_id: int | None = None


@dataclass(frozen=True)
class Limits:
    """An owner's quota: how many, how many now, and which tasks hold the places."""

    active_limit: int
    active: int
    tasks: list[int]

    @property
    def available(self) -> int:
        return max(0, self.active_limit - self.active)


@dataclass(frozen=True)
class Claimed:
    """A task in the hands of this process, until it says how the attempt ended."""

    id: int
    task_type: str
    fence: int
    attempt: int
    max_attempts: int
    input_data: Any
    checkpoint: Any
    slept: int
    timeout_seconds: float | None
    started_at: datetime
    claimed_at: datetime


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How an attempt ended; ``wake_at`` says when to go on, if ever.

    ``result``, ``progress`` and ``checkpoint`` are JSON text; no progress leaves what was there.
    """

    task: Claimed
    status: Status
    result: str = "null"
    error_code: str = ""
    error_message: str = ""
    progress: str = "null"
    checkpoint: str = "null"
    slept: int = 0
    wake_at: datetime | None = None
    resumes: bool = False


def open_account(owner_id: int) -> None:
    """Give a user a quota counter, unless there is one."""
    Account.objects.bulk_create([Account(user_id=owner_id)], ignore_conflicts=True)


def limits(owner_id: int) -> Limits:
    """What the owner may have and has; the tasks named are those that hold a place now."""
    active = list(
        Task.objects.visible_to(owner_id).active().order_by("id").values_list("id", flat=True)
    )
    override = Account.objects.filter(user_id=owner_id).values_list("active_limit", flat=True)
    limit = override.first()
    return Limits(settings.TASKYARD_ACTIVE_LIMIT if limit is None else limit, len(active), active)


def submit(owner_id: int, new: NewTask) -> Task:
    """Accept one task; raises ActiveLimitExceeded."""
    return submit_all(owner_id, [new])[0]


def submit_all(owner_id: int, new: Sequence[NewTask]) -> list[Task]:
    """Accept all of them, in this order, or none; raises ActiveLimitExceeded.

    The quota places and the rows are one change. The bells ring once it is durable.
    """
    sql = dialect()
    rows = [{**vars(each), "run_at": each.run_at and sql.moment(each.run_at)} for each in new]
    params = {
        "owner": owner_id,
        "limit": settings.TASKYARD_ACTIVE_LIMIT,
        "rows": json.dumps(rows, ensure_ascii=False, allow_nan=False),
    }
    accepted = sql.submit(params)
    if not accepted:
        open_account(owner_id)
        accepted = sql.submit(params)
    if not accepted:
        raise ActiveLimitExceeded(limits(owner_id).active_limit)
    tasks = [
        Task(
            id=task_id,
            owner_id=owner_id,
            created_at=created_at,
            ready=bool(ready),
            **{**vars(each), "tags": list(each.tags)},
        )
        for (task_id, created_at, ready), each in zip(sorted(accepted), new, strict=True)
    ]
    _ring_on_commit(task.queue for task in tasks if task.ready)
    return tasks


def claim(
    queue: str, caps: dict[str, int], *, worker_id: int, process: int
) -> tuple[list[Claimed], bool]:
    """Give this process the next ready tasks, in priority order, and say whether more wait.

    ``caps`` names the task types it knows and how many of each it will take together: the claim
    goes on along the queue only while the next task's type allows that many.
    """
    rows = dialect().claim(
        {
            "queue": queue,
            "caps": json.dumps(caps),
            "limit": max(caps.values()) + 1,
            "worker": worker_id,
            "process": process,
        }
    )
    rows.sort(key=lambda row: (-row[11], row[0]))
    claimed = [
        Claimed(
            id=row[0],
            task_type=row[1],
            fence=row[2],
            attempt=row[3],
            max_attempts=row[4],
            input_data=json.loads(row[5]),
            checkpoint=row[6] and json.loads(row[6]),
            slept=row[7],
            timeout_seconds=row[8],
            started_at=row[9],
            claimed_at=row[10],
        )
        for row in rows
    ]
    return claimed, bool(rows) and rows[0][12] > len(rows)


def finish(endings: Sequence[Ending]) -> set[int]:
    """Write how attempts ended, all together; the ids of those that were still current.

    A terminal ending releases the quota place in the same transaction. An ending that is not in
    the answer came late: the task had been taken from this attempt, and nothing was written.
    """
    sql = dialect()
    rows = [
        {
            "id": ending.task.id,
            "fence": ending.task.fence,
            "status": ending.status.value,
            "terminal": ending.status in TERMINAL,
            "ready": ending.status not in TERMINAL and ending.wake_at is None,
            "wake_at": ending.wake_at and sql.moment(ending.wake_at),
            "resumes": ending.resumes,
            "error_code": ending.error_code,
            "error_message": ending.error_message,
            "progress": orjson.Fragment(ending.progress),
            "checkpoint": orjson.Fragment(ending.checkpoint),
            "slept": ending.slept,
            "result": orjson.Fragment(ending.result),
        }
        for ending in endings
    ]
    params = {"rows": orjson.dumps(rows).decode()}
    failed = [ending for ending in endings if ending.error_code and ending.status in ACTIVE]
    if failed:
        with transaction.atomic():
            current = {row[0] for row in sql.finish(params)}
            _record_attempts(ending for ending in failed if ending.task.id in current)
    else:
        current = {row[0] for row in sql.finish(params)}
    for ending in endings:
        if ending.task.id not in current:
            logger.warning("late write refused", extra={"task": ending.task.id})
    return current


def save_progress(task: Claimed, progress: str) -> bool:
    """Show how far a running task is (JSON text); false when the attempt is not current."""
    held = Task.objects.filter(
        id=task.id, fence=task.fence, status=Status.IN_PROGRESS, worker_id__isnull=False
    )
    return bool(held.update(progress=json.loads(progress)))


def wake() -> set[str]:
    """Make ready what has waited long enough; the queues that have new work."""
    due = Task.objects.due_to_wake()
    if not due.exists():
        return set()
    with transaction.atomic():
        chosen = dict(_locked(due).values_list("id", "queue")[:SWEEP])
        Task.objects.filter(id__in=chosen).update(ready=True, wake_at=None)
    return set(chosen.values())


def rescue(lost: TaskQuerySet) -> set[str]:
    """Take tasks from the dead; the queues that have new work.

    A task with attempts left becomes ready again at once; another ends in error.
    """
    if not lost.exists():
        return set()
    with transaction.atomic():
        chosen = list(_locked(lost)[:SWEEP])
        again = [task for task in chosen if task.attempt < task.max_attempts]
        over = [task for task in chosen if task.attempt >= task.max_attempts]
        Attempt.objects.bulk_create(
            Attempt(
                task=task,
                number=task.attempt,
                fence=task.fence,
                started_at=task.claimed_at or task.created_at,
                error_code="worker_lost",
                error_message=WORKER_LOST,
            )
            for task in again
        )
        freed = Task.objects.filter(id__in=[task.id for task in chosen])
        freed.filter(attempt__lt=F("max_attempts")).update(
            status=Status.PENDING, ready=True, worker=None, process=None
        )
        freed.filter(attempt__gte=F("max_attempts"), status=Status.IN_PROGRESS).update(
            status=Status.ERROR,
            finished_at=Now(),
            error_code="worker_lost",
            error_message=WORKER_LOST,
            worker=None,
            process=None,
        )
        _release(Counter(task.owner_id for task in over))
    for task in chosen:
        logger.warning("task rescued", extra={"task": task.id, "attempt": task.attempt})
    return {task.queue for task in again}


def purge(older_than_days: int) -> int:
    """Delete some of the terminal tasks that are older; how many (at most a sweep)."""
    old = Task.objects.filter(finished_at__lt=Now() - timedelta(days=older_than_days))
    return Task.objects.filter(id__in=list(old.values_list("id", flat=True)[:SWEEP])).delete()[0]


def _locked(tasks: TaskQuerySet) -> TaskQuerySet:
    return tasks.select_for_update(skip_locked=True, of=("self",)).order_by("id")


def _release(places: Counter[int]) -> None:
    for owner_id in sorted(places):
        Account.objects.filter(user_id=owner_id).update(active=F("active") - places[owner_id])


def _record_attempts(endings: Iterable[Ending]) -> None:
    Attempt.objects.bulk_create(
        Attempt(
            task_id=ending.task.id,
            number=ending.task.attempt,
            fence=ending.task.fence,
            started_at=ending.task.claimed_at,
            error_code=ending.error_code,
            error_message=ending.error_message,
        )
        for ending in endings
    )


def _ring_on_commit(queues: Iterable[str]) -> None:
    ring = import_string(settings.TASKYARD_BELL)
    for queue in set(queues):
        transaction.on_commit(partial(ring, queue))
