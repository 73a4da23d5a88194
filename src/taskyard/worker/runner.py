"""Run claimed tasks, in a worker's child process: claim, call, catch everything, finish."""

import logging
import os
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

from django.db import DatabaseError, InterfaceError, OperationalError, connection

from taskyard.catalog.encoding import encode_json, storable
from taskyard.catalog.run import Cancelled, Fail, Retry, Run, Suspend, TimedOut
from taskyard.catalog.schema import InvalidInput
from taskyard.catalog.task_type import BadResult, TaskType, UnknownTaskType, registry
from taskyard.core import history, lifecycle
from taskyard.core.models import Task
from taskyard.core.querysets import TaskQuerySet
from taskyard.core.states import Status
from taskyard.core.values import Claimed, Ending, Standing, Verdict
from taskyard.worker import identity
from taskyard.worker.bell import ring, silence
from taskyard.worker.timer import time_limit

SLICE_SECONDS = 1.0
HARD_LIMIT_SECONDS = 5.0
PAUSE_SECONDS = 1.0
MESSAGE_LENGTH = 2000
Answer = TypeVar("Answer")
logger = logging.getLogger(__name__)


def work(queue: str) -> None:
    """Do what is ready in a queue for ``SLICE_SECONDS``; then let other queues have a turn."""
    silence(queue)
    caps = {known.name: known.batch for known in registry.all()}
    until = time.monotonic() + SLICE_SECONDS
    while not identity.slots().draining:
        claimed, more = _claim(queue, caps)
        if not claimed:
            return
        if more:
            ring(queue)
        run_all(claimed)
        if time.monotonic() > until:
            break
    ring(queue)


def run_all(claimed: list[Claimed]) -> None:
    """Run claimed tasks and write how they ended; hand back the rest when the worker drains."""
    slots = identity.slots()
    endings = []
    for task in claimed:
        if slots.draining:
            break
        limit = None if task.timeout_seconds is None else task.timeout_seconds + HARD_LIMIT_SECONDS
        slots.hold(task.id, task.fence, seconds=limit)
        endings.append(execute(task))
    slots.release()
    if endings:
        _finish(endings)
    if rest := claimed[len(endings) :]:
        _hand_back(Task.objects.filter(id__in=[task.id for task in rest]))


def execute(task: Claimed) -> Ending:
    """Call the task's handler and say how the attempt ended. Lets nothing out."""
    if task.cancel_requested:
        return Ending(task=task, status=Status.CANCELLED, error_code="cancelled_at_once")
    reporter = Reporter(task)
    run = Run(
        task_id=task.id,
        attempt=task.attempt,
        started_at=task.started_at,
        now=task.claimed_at,
        checkpoint=task.checkpoint,
        slept=task.slept,
        report=reporter.report,
        keep=reporter.keep,
    )
    ending = _attempt(task, run)
    reporter.write_down(run)
    return ending


def _attempt(task: Claimed, run: Run) -> Ending:
    end = partial(_end, task, run)
    try:
        task_type = registry.get(task.task_type)
        with time_limit(task.timeout_seconds):
            result = task_type.encode_result(task_type.call(run, task.input_data))
    except UnknownTaskType:
        return end(Status.ERROR, "unknown_task_type", "No such task type is known here.")
    except Suspend as suspend:
        return end(Status.IN_PROGRESS, wake_at=suspend.wake_at, resumes=True)
    except Cancelled:
        return end(Status.CANCELLED, "cancelled_by_handler")
    except TimedOut:
        return end(Status.ERROR, "timeout", lifecycle.MESSAGES["timeout"])
    except (Fail, BadResult) as failure:
        return end(Status.ERROR, failure.code, str(failure))
    except InvalidInput as error:
        return end(Status.ERROR, "invalid_input", str(error))
    except Retry as error:
        return _try_again(task, run, task_type, "retry", str(error), after=error.after)
    except BaseException as error:  # SystemExit and MemoryError too: a task never ends its worker
        logger.warning("attempt failed", extra={"task": task.id, "error": type(error).__name__})
        message = f"{type(error).__name__}: {error}"
        return _try_again(task, run, task_type, "exception", message)
    return end(Status.COMPLETED, result=result)


class Reporter:
    """Carries what a running handler says to the database, and back whether it should stop."""

    def __init__(self, task: Claimed) -> None:
        self._task = task
        self._progress: str | None = None
        self._lines_kept: int | None = None

    def report(self, run: Run) -> bool:
        """Save progress and lines; whether the handler should stop."""
        try:
            progress = run.last_progress if run.last_progress != self._progress else None
            standing = lifecycle.report(self._task, progress)
            self._progress = run.last_progress
            self.write_down(run)
        except (OperationalError, InterfaceError) as error:
            logger.warning("report put off: %s", error)
            connection.close()
            return False
        return standing is not Standing.CURRENT

    def keep(self, run: Run, checkpoint: str) -> bool:
        """Make a checkpoint durable, with what was said before it; whether it is current."""
        self.write_down(run)
        return _until_answered(lambda: lifecycle.keep_checkpoint(self._task, checkpoint))

    def write_down(self, run: Run) -> None:
        if not run.lines and not run.lines_dropped:
            return
        if self._lines_kept is None:
            self._lines_kept = history.lines_kept(self._task.id)
        self._lines_kept = history.write_down(
            self._task.id,
            self._task.attempt,
            run.lines,
            kept=self._lines_kept,
            dropped=run.lines_dropped,
        )
        run.lines, run.lines_dropped = [], 0


def _try_again(
    task: Claimed,
    run: Run,
    task_type: TaskType,
    code: str,
    message: str,
    after: float | None = None,
) -> Ending:
    if task.attempt >= task.max_attempts:
        return _end(task, run, Status.ERROR, code, message)
    pause = task_type.backoff(task.attempt) if after is None else max(0.0, after)
    wake_at = run.now() + timedelta(seconds=pause)
    return _end(task, run, Status.PENDING, code, message, wake_at=wake_at)


def _end(
    task: Claimed, run: Run, status: Status, code: str = "", message: str = "", **how: Any
) -> Ending:
    return Ending(
        task=task,
        status=status,
        error_code=storable(code)[:100],
        error_message=storable(message)[:MESSAGE_LENGTH],
        progress=run.last_progress or "null",
        checkpoint=encode_json(run.checkpoint),
        slept=run.slept,
        **how,
    )


def _hand_back(tasks: TaskQuerySet) -> None:
    mine = tasks.filter(worker=identity.worker_id, process=os.getpid())
    _until_answered(lambda: lifecycle.rescue(mine, verdict=lambda task: Verdict.UNCHARGED))


def _claim(queue: str, caps: dict[str, int]) -> tuple[list[Claimed], bool]:
    """Claim; where the answer to a claim was lost with the connection, give back what it took."""
    me = identity.worker_id
    process = os.getpid()
    claim = partial(lifecycle.claim, queue, caps, worker_id=me, process=process)
    try:
        return claim()
    except (OperationalError, InterfaceError) as error:
        logger.warning("claim failed: %s", error)
        connection.close()
    _hand_back(Task.objects.all())
    return [], False


def _finish(endings: list[Ending]) -> None:
    """Write the endings; where one cannot be stored, only that task fails."""
    try:
        _until_answered(lambda: lifecycle.finish(endings))
    except DatabaseError as error:
        if len(endings) > 1:
            for ending in endings:
                _finish([ending])
            return
        logger.error("ending refused: %s", error, extra={"task": endings[0].task.id})
        message = "The database refused what the task returned."
        refused = Ending(
            task=endings[0].task,
            status=Status.ERROR,
            error_code="result_invalid",
            error_message=message,
        )
        _until_answered(lambda: lifecycle.finish([refused]))


def _until_answered(ask: Callable[[], Answer]) -> Answer:
    """Ask the database again until it answers: no process goes on while it still holds tasks."""
    while True:
        try:
            return ask()
        except (OperationalError, InterfaceError) as error:
            logger.warning("database away: %s", error)
            connection.close()
            time.sleep(PAUSE_SECONDS)
