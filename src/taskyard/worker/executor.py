"""Run tasks in a worker's child process: call the handler, catch everything, write the end."""

import contextvars
import json
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from traceback import clear_frames
from types import CoroutineType
from typing import Any

from django.db import DatabaseError, InterfaceError, connection

from taskyard.catalog.encoding import encode_json, sanitize
from taskyard.catalog.files import StorageError
from taskyard.catalog.run import Cancelled, Fail, Retry, Run, Suspend, TimedOut
from taskyard.catalog.schema import InvalidInput
from taskyard.catalog.task_type import InvalidResult, TaskType, UnknownTaskType, registry
from taskyard.core import encryption, fair_queue, lifecycle, transitions
from taskyard.core.database_errors import Outage, is_outage
from taskyard.core.errors import SecretUnreadable
from taskyard.core.models import Task
from taskyard.core.querysets import TaskQuerySet
from taskyard.core.states import Status
from taskyard.core.types import MESSAGES, AttemptResult, ClaimedTask, LossReason
from taskyard.worker import identity, lifespan, process_tree, scrubbing, task_log
from taskyard.worker.event_loop import deciding, event_loop
from taskyard.worker.fast_path import (
    QUICK_SECONDS,
    TRANSACTION_BUDGET_SECONDS,
    UNCLAIMED_LIMIT_SECONDS,
    FastTypes,
)
from taskyard.worker.handler_database import database
from taskyard.worker.input_files import InputFiles
from taskyard.worker.output_files import OutputFiles
from taskyard.worker.reporter import (
    PAUSE_SECONDS,
    Reporter,
    retry_until_database_answers,
    to_the_end,
)
from taskyard.worker.timer import deferring, time_limit
from taskyard.worker.tracebacks import describe, frames_of

HARD_LIMIT_SECONDS = 5.0
LONGEST_PAUSE_SECONDS = 10 * 365 * 24 * 3600.0
MESSAGE_LENGTH = 2000
NAMES_AT_ONCE = 100
logger = logging.getLogger(__name__)
fast_types = FastTypes()


def run_claimed(claimed: Sequence[ClaimedTask]) -> int:
    """Run claimed tasks and write their results; how many have ended.

    If the worker drains or this process must be replaced, the other tasks become ready again.
    """
    process_table = identity.process_table()
    endings: list[AttemptResult] = []
    cleaned, cleaned_at = 0, time.perf_counter()
    with database.lent():
        for task in claimed:
            if process_table.draining or lifespan.lifespan.is_over:
                break
            process_table.hold(task.id, task.fence, seconds=_hard_limit(task))
            began = time.perf_counter()
            endings.append(execute(task))
            now = time.perf_counter()
            _record_duration(task, now - began)
            if now - cleaned_at > QUICK_SECONDS:  # long enough to use memory or start processes
                _clean_up_after(len(endings) - cleaned)
                cleaned, cleaned_at = len(endings), time.perf_counter()
    _clean_up_after(len(endings) - cleaned)
    process_table.release()
    if endings:
        _finish(endings)
    if rest := claimed[len(endings) :]:
        _hand_back(Task.objects.filter(id__in=[task.id for task in rest]))
    return len(endings)


def run_locked(locked: lifecycle.LockedTasks, *, on_claim: Callable[[], None]) -> None:
    """Run and end tasks that are locked but not claimed, for ``TRANSACTION_BUDGET_SECONDS``.

    If a handler uses the default connection in its main thread, its task is claimed before, so that
    no transaction of ours is open meanwhile. This task is the last, and ``on_claim`` is called,
    because it may take long.
    """
    process_table = identity.process_table()
    endings: list[AttemptResult] = []
    now = began = time.perf_counter()

    def claim_the_running() -> None:
        _claim_running(locked, task, endings, on_claim)

    with database.lent():
        database.before_use = claim_the_running
        for task in locked:
            if process_table.draining or now - began > TRANSACTION_BUDGET_SECONDS:
                break
            process_table.hold(task.id, task.fence, seconds=UNCLAIMED_LIMIT_SECONDS, claimed=False)
            endings.append(execute(task))
            before, now = now, time.perf_counter()
            _record_duration(task, now - before)
            if not locked.is_open:
                break
    _clean_up_after(len(endings))
    process_table.release()
    if locked.failure is not None:
        raise locked.failure
    if locked.is_open:
        locked.finish_unclaimed(endings)
    else:
        _finish(endings)


def _claim_running(
    locked: lifecycle.LockedTasks,
    task: ClaimedTask,
    endings: list[AttemptResult],
    on_claim: Callable[[], None],
) -> None:
    with deferring(), database.ours():
        locked.claim(task, endings, worker_id=identity.worker_id, process=os.getpid())
        endings.clear()
    identity.process_table().hold(task.id, task.fence, seconds=_hard_limit(task))
    on_claim()


def _hard_limit(task: ClaimedTask) -> float | None:
    return None if task.timeout_seconds is None else task.timeout_seconds + HARD_LIMIT_SECONDS


def _record_duration(task: ClaimedTask, seconds: float) -> None:
    fair_queue.ran(task, seconds)
    if database.was_used:
        fast_types.exclude(task.task_type)
        database.make_as_new()
    else:
        fast_types.record(task.task_type, seconds)


def _clean_up_after(tasks: int) -> None:
    """Restore the process state; have the process replaced if children remain or a limit is met."""
    identity.state().restore()
    lifespan.lifespan.note(tasks)
    if process_tree.end_children():
        lifespan.lifespan.end()


def execute(task: ClaimedTask) -> AttemptResult:
    """Call the task's handler and return the result of the attempt. Raises nothing."""
    task_log.begin(task)
    try:
        ending = _execute(task)
        if log := task_log.end():
            to_the_end(task, log.keep)
        return ending
    except BaseException as error:  # the handler's result or log cannot be written
        task_log.end()
        name = type(error).__name__
        logger.error("ending untold", extra={"task": task.id, "error": name})
        return AttemptResult(task, Status.ERROR, "null", "exception", name)
    finally:
        scrubbing.end()


def _execute(task: ClaimedTask) -> AttemptResult:
    if task.cancel_requested:
        return AttemptResult(task=task, status=Status.CANCELLED, error_code="cancelled_at_once")
    try:
        task_type = registry.get(task.task_type)
    except UnknownTaskType:
        code = "unknown_task_type"
        return AttemptResult(task, Status.ERROR, "null", code, MESSAGES[code])
    if not task_type.takes_context and not task_type.is_async:
        return _attempt(task, task_type, None)
    reporter, outputs = Reporter(task), OutputFiles(task)
    run = Run(
        task_id=task.id,
        task_type=task.task_type,
        attempt=task.attempt,
        started_at=task.started_at,
        now=task.claimed_at,
        checkpoint=task.checkpoint and json.loads(task.checkpoint),
        slept=task.slept,
        report=reporter.report,
        keep=reporter.keep,
        save=outputs.save,
        look_up=reporter.look_up,
        ask=retry_until_database_answers,
        scrub=scrubbing.scrub,
    )
    ending = _attempt(task, task_type, run)
    outputs.close()
    reporter.close(run)
    return ending


def _attempt(task: ClaimedTask, task_type: TaskType, run: Run | None) -> AttemptResult:
    try:
        if task.timeout_seconds is None or task_type.is_async:
            result = _call(task, task_type, run)
        else:
            with time_limit(task.timeout_seconds, task_type.timed_out):
                result = _call(task, task_type, run)
        if run is None:
            return AttemptResult(task, Status.COMPLETED, result)
        return _end(task, run, Status.COMPLETED, result=result)
    except BaseException as error:  # also SystemExit: a task must not end its worker
        return _ending_of(deciding(error), task, task_type, run)


def _call(task: ClaimedTask, task_type: TaskType, run: Run | None) -> bytes:
    """Run the handler to its end; its result as JSON text."""
    files = InputFiles(task.id, run) if task_type.takes_files else None
    try:
        input_json = task.input_data if task_type.secrets is None else _opened(task, task_type)
        # In a copy, so that the next handler does not see the context variables that this one sets.
        result = contextvars.copy_context().run(task_type.call, run, input_json, files)
        if isinstance(result, CoroutineType):
            result = event_loop.run(result, seconds=task.timeout_seconds, run=run)
        return task_type.encode_result(result)
    finally:
        if identity.is_fork:
            os._exit(os.EX_OK)  # a process that the handler forked has no task
        if files is not None:
            with deferring():
                files.close()


def _opened(task: ClaimedTask, task_type: TaskType) -> str:
    """The input with its secrets in clear, which are removed from all messages from now on.

    Raises SecretUnreadable.
    """
    opened = encryption.open_input(task_type, task.input_data)
    scrubbing.begin(opened.secrets)
    return opened.text


def _ending_of(
    error: BaseException, task: ClaimedTask, task_type: TaskType, run: Run | None
) -> AttemptResult:
    end = partial(_end, task, run)
    match error:
        case Suspend():
            return end(Status.IN_PROGRESS, wake_at=error.wake_at, resumes=True)
        case Cancelled():
            return end(Status.CANCELLED, "cancelled_by_handler")
        case TimedOut():
            return end(Status.ERROR, "timeout", MESSAGES["timeout"], traceback=describe(error))
        case Fail() | InvalidResult():
            cause = describe(error.__cause__) if error.__cause__ else None
            return end(Status.ERROR, error.code, str(error), traceback=cause)
        case InvalidInput():
            return end(Status.ERROR, "invalid_input", str(error))
        case SecretUnreadable():
            about = {"task": task.id, "task_type": task.task_type, "key": error.params["key"]}
            logger.error("secret unreadable", extra=about)
            return end(Status.ERROR, error.code, MESSAGES[error.code])
        case Retry():
            return _try_again(task, run, task_type, "retry", str(error), after=error.after)
        case StorageError():
            return _try_again(task, run, task_type, error.code, str(error))
    if isinstance(error, MemoryError):
        clear_frames(error.__traceback__)  # frees the handler's objects: to log needs memory
    traceback = describe(error)
    logger.warning(
        "attempt failed",
        extra={
            "task": task.id,
            "task_type": task.task_type,
            "attempt": task.attempt,
            "error": type(error).__name__,
            "traceback": frames_of(error),
        },
    )
    message = f"{type(error).__name__}: {_message_of(error)}"
    ending = _try_again(task, run, task_type, "exception", message)
    return ending._replace(traceback=traceback)


def _message_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return "<exception str() failed>"


def _try_again(
    task: ClaimedTask,
    run: Run | None,
    task_type: TaskType,
    code: str,
    message: str,
    after: float | None = None,
) -> AttemptResult:
    if task.attempt >= task.max_attempts:
        return _end(task, run, Status.ERROR, code, message)
    pause = task_type.backoff(task.attempt) if after is None else after
    now = run.now() if run else task.claimed_at
    wake_at = now + timedelta(seconds=min(max(0.0, pause), LONGEST_PAUSE_SECONDS))
    return _end(task, run, Status.PENDING, code, message, wake_at=wake_at)


def _end(
    task: ClaimedTask,
    run: Run | None,
    status: Status,
    code: str = "",
    message: str = "",
    **fields: Any,
) -> AttemptResult:
    result = fields.pop("result", "null")
    code = sanitize(scrubbing.scrub(code))[:100]
    message = sanitize(scrubbing.scrub(message))[:MESSAGE_LENGTH]
    ending = AttemptResult(task, status, result, code, message, **fields)
    if run is None:
        return ending
    return ending._replace(
        progress=run.last_progress or "null",
        checkpoint=encode_json(run.checkpoint),
        slept=run.slept,
        saved_files=run.has_saved_files,
    )


def _hand_back(tasks: TaskQuerySet) -> None:
    """Make the tasks of this process ready again; repeat until none is left.

    No other process rescues a task while the process that holds it lives.
    """
    mine = tasks.filter(worker=identity.worker_id, process=os.getpid())

    def hand_back() -> bool:
        lifecycle.rescue(mine, reason_of=lambda task: LossReason.UNCHARGED)
        return mine.exists()

    while retry_until_database_answers(hand_back):
        time.sleep(PAUSE_SECONDS)


def claim(queue: str, *, on_failure: Callable[[], None]) -> tuple[list[ClaimedTask], bool]:
    """Claim tasks; whether more wait.

    If the connection fails, the claim may have been committed. Then call ``on_failure``, and when
    the database answers again make the claimed tasks ready again.
    """
    me = identity.worker_id
    process = os.getpid()
    sizes = {task_type.name: task_type.batch for task_type in registry.all()}
    batch_sizes = lifespan.lifespan.fit(sizes)
    try:
        claimed, more = lifecycle.claim(queue, batch_sizes, worker_id=me, process=process)
        if not claimed and _learn(queue, known=list(sizes)):
            return claim(queue, on_failure=on_failure)
        return claimed, more
    except (DatabaseError, InterfaceError) as error:
        if not is_outage(error):
            raise
        logger.warning("claim failed: %s", error)
        connection.close()
    on_failure()
    _hand_back(Task.objects.all())
    return [], False


def _learn(queue: str, *, known: list[str]) -> bool:
    """Import the types of ready tasks that this process does not know; whether it found one."""
    if registry.resolver is None:
        return False
    ready = Task.objects.ready_in([queue]).exclude(task_type__in=known)
    names = list(ready.values_list("task_type", flat=True).distinct()[:NAMES_AT_ONCE])
    return any(registry.resolver(name) for name in names)


def _finish(endings: list[AttemptResult]) -> None:
    """Write the endings. If the database refuses one of them, only that task fails.

    If an owner's quota is locked, only the endings of that owner's tasks wait.
    """
    left = deque([endings])
    while left:
        batch = left.popleft()
        try:
            retry_until_database_answers(partial(transitions.finish, batch), unless=Outage.BUSY)
        except DatabaseError as error:
            if len(batch) > 1:
                left.extend([ending] for ending in batch)
            elif is_outage(error):
                logger.warning("database away: %s", error)
                left.append(batch)
                time.sleep(PAUSE_SECONDS)
            else:
                _fail(batch[0], error)


def _fail(ending: AttemptResult, error: DatabaseError) -> None:
    """End a task in error, because the database refused its result."""
    logger.error("ending refused: %s", error, extra={"task": ending.task.id})
    refused = AttemptResult(
        task=ending.task,
        status=Status.ERROR,
        error_code="result_invalid",
        error_message=MESSAGES["result_refused"],
    )
    retry_until_database_answers(lambda: transitions.finish([refused]))
