"""Django tasks as rows: submit one, read one as a TaskResult, begin an attempt."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any

from taskyard.catalog.encoding import encode_json
from taskyard.catalog.run import Cancelled, Fail, Run, TimedOut
from taskyard.catalog.task_type import PATH
from taskyard.contrib.django_tasks.framework import (
    Task,
    TaskError,
    TaskResult,
    TaskResultDoesNotExist,
    TaskResultStatus,
    normalize_json,
)
from taskyard.core import history, idempotency, lifecycle
from taskyard.core.intake import BODY_LIMIT
from taskyard.core.models import Task as Row
from taskyard.core.states import FAILED, Priority, Status
from taskyard.core.types import LARGEST_ID, NewTask

STATUSES = {
    Status.PENDING: TaskResultStatus.READY,
    Status.IN_PROGRESS: TaskResultStatus.RUNNING,
    Status.COMPLETED: TaskResultStatus.SUCCESSFUL,
    Status.ERROR: TaskResultStatus.FAILED,
    Status.CANCELLED: TaskResultStatus.FAILED,
}
# Django's 0 is our normal. Rows keep the whole range, so claims follow Django's order.
NORMAL = int(Priority.NORMAL)
# Before the keys of Django tasks: no Idempotency-Key of the owner's requests can begin with it.
KEYS = "\x1f"
# A worker that died before it could write its name.
UNKNOWN = "unknown"


def submit(
    backend: Any, task: Task, args: Sequence[Any], kwargs: dict[str, Any]
) -> tuple[TaskResult, bool]:
    """Insert a task; its result, and whether it is new: a key may have made it before."""
    arguments = encode_json(normalize_json({"args": args, "kwargs": kwargs}), limit=BODY_LIMIT)
    new = NewTask(
        task_type=task.module_path,
        queue=task.queue_name,
        input_data=json.loads(arguments),
        priority=task.priority + NORMAL,
        max_attempts=backend.max_attempts_of(task),
        run_at=task.run_after,
    )
    owner_id, key = getattr(task, "owner_id", None), getattr(task, "key", None)
    if key is None:
        new_id, enqueued_at, _ready = lifecycle.submit_row(owner_id, new)
        return _new_result(task, new_id, enqueued_at, new.input_data, backend.alias), True
    fingerprint = idempotency.fingerprint(new.task_type, new.input_data)
    (task_id,), existed = idempotency.submit_once(owner_id, KEYS + key, fingerprint, [new])
    row = Row.objects.filter(id=task_id).first()
    if row is None:
        raise TaskResultDoesNotExist(str(task_id))
    return _result(row, task, backend.alias), not existed


def _new_result(
    task: Task, task_id: int, enqueued_at: datetime, arguments: dict[str, Any], alias: str
) -> TaskResult:
    """What ``_result`` makes of a new row, without a model of it."""
    return TaskResult(
        task=task,
        id=str(task_id),
        status=TaskResultStatus.READY,
        enqueued_at=enqueued_at,
        started_at=None,
        finished_at=None,
        last_attempted_at=None,
        args=arguments["args"],
        kwargs=arguments["kwargs"],
        backend=alias,
        errors=[],
        worker_ids=[],
    )


def find(result_id: str) -> Row:
    """The row of a Django task. Raises TaskResultDoesNotExist."""
    row = None
    if str(result_id).isdecimal() and str(result_id).isascii() and int(result_id) <= LARGEST_ID:
        row = Row.objects.filter(id=int(result_id)).first()
    if row is None or not PATH.fullmatch(row.task_type):
        raise TaskResultDoesNotExist(result_id)
    return row


def result_of(row: Row, task: Task, backend: Any) -> TaskResult:
    """A row as the result of this task."""
    return _result(row, _as_enqueued(task, row, backend), backend.alias)


def begin(task: Task, run: Run) -> tuple[TaskResult, bool, bool]:
    """Note which worker runs this attempt; whether the attempt begins, and whether it is the last.

    Raises Cancelled if the task was given to another attempt.
    """
    row = Row.objects.select_related("worker").get(id=run.task_id)
    if row.worker is None or row.attempt != run.attempt:
        raise Cancelled
    backend = task.get_backend()
    enqueued = _as_enqueued(task, row, backend)
    result = _result(row, enqueued, backend.alias, is_first_claim=row.fence == 1)
    begins = result.worker_ids[-1] == UNKNOWN
    if begins:
        result.worker_ids[-1] = f"{row.worker}/{row.process}"
        history.record_worker(row, result.worker_ids[-1])
    return result, begins, row.attempt >= row.max_attempts


def _result(row: Row, task: Task, alias: str, *, is_first_claim: bool = False) -> TaskResult:
    result = TaskResult(
        task=task,
        id=str(row.pk),
        status=STATUSES[Status(row.status)],
        enqueued_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        last_attempted_at=row.claimed_at,
        args=row.input_data["args"],
        kwargs=row.input_data["kwargs"],
        backend=alias,
        errors=list(_errors(row)),
        worker_ids=[UNKNOWN] if is_first_claim else _worker_ids(row),
    )
    if row.status == Status.COMPLETED:
        object.__setattr__(result, "_return_value", row.result)
    return result


def _as_enqueued(task: Task, row: Row, backend: Any) -> Task:
    """The task with the options that the row has.

    Not by ``using``, which checks them: a task stays readable when the settings change.
    """
    changes = {
        "priority": row.priority - NORMAL,
        "queue_name": row.queue,
        "run_after": row.run_at,
        "backend": backend.alias,
    }
    if row.owner_id is not None:
        changes["owner_id"] = row.owner_id
    if row.max_attempts != backend.max_attempts_of(task):
        changes["max_attempts"] = row.max_attempts
    enqueued: Task = object.__new__(type(task))
    for field in fields(task):
        value = changes.get(field.name, getattr(task, field.name))
        object.__setattr__(enqueued, field.name, value)
    return enqueued


def _worker_ids(row: Row) -> list[str]:
    """One for each attempt."""
    if row.attempt == 0:
        return []
    known = dict(row.workers.values_list("attempt", "worker"))
    return [known.get(number, UNKNOWN) for number in range(1, row.attempt + 1)]


def _errors(row: Row) -> Iterator[TaskError]:
    """Those of the failed attempts, in order."""
    has_failed = row.status in FAILED
    is_current = row.worker_id is not None or row.status == Status.COMPLETED
    if not has_failed and row.attempt <= is_current:  # most tasks: no query
        return
    past = row.attempts.order_by("fence")
    failed = list(past.values_list("fence", "error_code", "error_message"))
    if has_failed:
        failed.append((row.fence, row.error_code, row.error_message))
    tracebacks = {each.fence: each for each in row.tracebacks.all()}
    for fence, code, message in failed:
        if traceback := tracebacks.get(fence):
            kind = traceback.exception_type
            path = kind if "." in kind else f"builtins.{kind}"
            yield TaskError(exception_class_path=path, traceback=traceback.text)
        else:
            yield _error_without_traceback(row, code, message)


def _error_without_traceback(row: Row, code: str, message: str) -> TaskError:
    kind: type[BaseException] = TimedOut if code == "timeout" else Fail
    if row.status == Status.CANCELLED:
        kind = Cancelled
    text = f"{code}: {message}" if message else code
    return TaskError(
        exception_class_path=f"{kind.__module__}.{kind.__qualname__}", traceback=f"{text}\n"
    )
