"""Run tasks, in a worker's child process: call, catch everything, finish."""

import json
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

from django.db import DatabaseError, InterfaceError, connection

from taskyard.catalog.encoding import encode_json, storable
from taskyard.catalog.run import Cancelled, Fail, Retry, Run, Suspend, TimedOut
from taskyard.catalog.schema import InvalidInput
from taskyard.catalog.task_type import BadResult, TaskType, UnknownTaskType, registry
from taskyard.core import history, lifecycle
from taskyard.core.database_errors import Outage, is_outage, outage_of
from taskyard.core.models import Task
from taskyard.core.querysets import TaskQuerySet
from taskyard.core.states import Status
from taskyard.core.values import MESSAGES, Claimed, Ending, Line, Standing, Verdict
from taskyard.worker import identity, lifespan, process_tree, task_log
from taskyard.worker.pace import PATIENCE_SECONDS, QUICK_SECONDS, TOGETHER_SECONDS, Pace
from taskyard.worker.timer import time_limit
from taskyard.worker.tracebacks import describe

HARD_LIMIT_SECONDS = 5.0
PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 10 * 365 * 24 * 3600.0
MESSAGE_LENGTH = 2000
Answer = TypeVar("Answer")
logger = logging.getLogger(__name__)
pace = Pace()


def run_claimed(claimed: Sequence[Claimed]) -> int:
    """Run claimed tasks and write how they ended; how many have.

    The rest is handed back where the worker drains, or this process has to be replaced.
    """
    slots = identity.slots()
    endings: list[Ending] = []
    noted = 0
    for task in claimed:
        if slots.draining or lifespan.lifespan.is_over:
            break
        limit = None if task.timeout_seconds is None else task.timeout_seconds + HARD_LIMIT_SECONDS
        slots.hold(task.id, task.fence, seconds=limit)
        began = time.perf_counter()
        endings.append(execute(task))
        took = time.perf_counter() - began
        pace.note(task.task_type, took)
        if took > QUICK_SECONDS:  # it had the time to grow, or to start something
            _note_the_end_of(len(endings) - noted)
            noted = len(endings)
    _note_the_end_of(len(endings) - noted)
    slots.release()
    if endings:
        _finish(endings)
    if rest := claimed[len(endings) :]:
        _hand_back(Task.objects.filter(id__in=[task.id for task in rest]))
    return len(endings)


def run_locked(locked: Sequence[Claimed]) -> list[Ending]:
    """Run tasks that are locked but not claimed, as many as fit into the transaction's time."""
    slots = identity.slots()
    endings: list[Ending] = []
    now = began = time.perf_counter()
    for task in locked:
        if slots.draining or now - began > TOGETHER_SECONDS:
            break
        slots.hold(task.id, task.fence, seconds=PATIENCE_SECONDS, claimed=False)
        endings.append(execute(task))
        before, now = now, time.perf_counter()
        pace.note(task.task_type, now - before)
    _note_the_end_of(len(endings))
    slots.release()
    return endings


def _note_the_end_of(tasks: int) -> None:
    """End what they left behind; a process that had to is replaced, as one that is old is."""
    lifespan.lifespan.note(tasks)
    if process_tree.end_children():
        lifespan.lifespan.end()


def execute(task: Claimed) -> Ending:
    """Call the task's handler and say how the attempt ended. Lets nothing out."""
    task_log.begin(task)
    try:
        ending = _execute(task)
        if log := task_log.end():
            _to_the_end(task, log.keep)
        return ending
    except BaseException as error:  # what the handler said of itself cannot be written down
        task_log.end()
        name = type(error).__name__
        logger.error("ending untold", extra={"task": task.id, "error": name})
        return Ending(task, Status.ERROR, "null", "exception", name)


def _execute(task: Claimed) -> Ending:
    if task.cancel_requested:
        return Ending(task=task, status=Status.CANCELLED, error_code="cancelled_at_once")
    try:
        task_type = registry.get(task.task_type)
    except UnknownTaskType:
        code = "unknown_task_type"
        return Ending(task, Status.ERROR, "null", code, MESSAGES[code])
    if not task_type.asks_its_run:
        return _attempt(task, task_type, None)
    reporter = Reporter(task)
    run = Run(
        task_id=task.id,
        attempt=task.attempt,
        started_at=task.started_at,
        now=task.claimed_at,
        checkpoint=task.checkpoint and json.loads(task.checkpoint),
        slept=task.slept,
        report=reporter.report,
        keep=reporter.keep,
    )
    ending = _attempt(task, task_type, run)
    reporter.write_down_to_the_end(run)
    return ending


def _attempt(task: Claimed, task_type: TaskType, run: Run | None) -> Ending:
    try:
        with time_limit(task.timeout_seconds):
            result = task_type.encode_result(_call(task_type, run, task.input_data))
        if run is None:
            return Ending(task, Status.COMPLETED, result)
        return _end(task, run, Status.COMPLETED, result=result)
    except BaseException as error:  # SystemExit and MemoryError too: a task never ends its worker
        return _ending_of(error, task, task_type, run)


def _call(task_type: TaskType, run: Run | None, input_data: str) -> Any:
    process = os.getpid()
    try:
        return task_type.call(run, input_data)
    finally:
        if os.getpid() != process:
            os._exit(os.EX_OK)  # the handler forked, and this process was given no task


def _ending_of(error: BaseException, task: Claimed, task_type: TaskType, run: Run | None) -> Ending:
    end = partial(_end, task, run)
    match error:
        case Suspend():
            return end(Status.IN_PROGRESS, wake_at=error.wake_at, resumes=True)
        case Cancelled():
            return end(Status.CANCELLED, "cancelled_by_handler")
        case TimedOut():
            return end(Status.ERROR, "timeout", MESSAGES["timeout"], traceback=describe(error))
        case Fail() | BadResult():
            return end(Status.ERROR, error.code, str(error))
        case InvalidInput():
            return end(Status.ERROR, "invalid_input", str(error))
        case Retry():
            return _try_again(task, run, task_type, "retry", str(error), after=error.after)
    traceback = describe(error)
    logger.warning(
        "attempt failed",
        extra={
            "task": task.id,
            "task_type": task.task_type,
            "attempt": task.attempt,
            "error": type(error).__name__,
            "traceback": traceback.text,
        },
    )
    message = f"{type(error).__name__}: {error}"
    ending = _try_again(task, run, task_type, "exception", message)
    return ending._replace(traceback=traceback)


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
            task_log.keep()
        except (DatabaseError, InterfaceError) as error:
            if not is_outage(error):
                raise
            logger.warning("report put off: %s", error)
            connection.close()
            return False
        return standing is not Standing.CURRENT

    def keep(self, run: Run, checkpoint: str) -> bool:
        """Make a checkpoint durable, with what was said before it; whether it is current."""
        self.write_down(run)
        return _until_answered(lambda: lifecycle.keep_checkpoint(self._task, checkpoint))

    def write_down_to_the_end(self, run: Run) -> None:
        _to_the_end(self._task, lambda: self.write_down(run))

    def write_down(self, run: Run) -> None:
        if not run.lines and not run.lines_dropped:
            return
        if self._lines_kept is None:
            self._lines_kept = history.lines_kept(self._task.id)
        self._lines_kept = history.write_down(
            self._task.id,
            self._task.attempt,
            [Line(at, message) for at, message in run.lines],
            kept=self._lines_kept,
            dropped=run.lines_dropped,
        )
        run.lines, run.lines_dropped = [], 0


def _to_the_end(task: Claimed, write: Callable[[], None]) -> None:
    """Write lines however long the database is away; what it refuses is left out."""
    try:
        _until_answered(write)
    except DatabaseError as error:
        logger.error("lines refused: %s", error, extra={"task": task.id})


def _try_again(
    task: Claimed,
    run: Run | None,
    task_type: TaskType,
    code: str,
    message: str,
    after: float | None = None,
) -> Ending:
    if task.attempt >= task.max_attempts:
        return _end(task, run, Status.ERROR, code, message)
    pause = task_type.backoff(task.attempt) if after is None else after
    now = run.now() if run else task.claimed_at
    wake_at = now + timedelta(seconds=min(max(0.0, pause), LONGEST_PAUSE_SECONDS))
    return _end(task, run, Status.PENDING, code, message, wake_at=wake_at)


def _end(
    task: Claimed, run: Run | None, status: Status, code: str = "", message: str = "", **how: Any
) -> Ending:
    said = storable(code)[:100], storable(message)[:MESSAGE_LENGTH]
    ending = Ending(task, status, how.pop("result", "null"), *said, **how)
    if run is None:
        return ending
    return ending._replace(
        progress=run.last_progress or "null",
        checkpoint=encode_json(run.checkpoint),
        slept=run.slept,
    )


def _hand_back(tasks: TaskQuerySet) -> None:
    mine = tasks.filter(worker=identity.worker_id, process=os.getpid())
    _until_answered(lambda: lifecycle.rescue(mine, verdict=lambda task: Verdict.UNCHARGED))


def claim(queue: str, *, on_failure: Callable[[], None]) -> tuple[list[Claimed], bool]:
    """Claim; where the answer to a claim was lost with the connection, give back what it took.

    Until the database can be asked for that, ``on_failure`` has been called.
    """
    me = identity.worker_id
    process = os.getpid()
    caps = lifespan.lifespan.fit({known.name: known.batch for known in registry.all()})
    try:
        return lifecycle.claim(queue, caps, worker_id=me, process=process)
    except (DatabaseError, InterfaceError) as error:
        if not is_outage(error):
            raise
        logger.warning("claim failed: %s", error)
        connection.close()
    on_failure()
    _hand_back(Task.objects.all())
    return [], False


def _finish(endings: list[Ending]) -> None:
    """Write the endings; where one cannot be stored, only that task fails.

    Where an owner's quota is locked, only the endings of that owner's tasks wait.
    """
    left = deque([endings])
    while left:
        some = left.popleft()
        try:
            _until_answered(partial(lifecycle.finish, some), unless=Outage.BUSY)
        except DatabaseError as error:
            if len(some) > 1:
                left.extend([ending] for ending in some)
            elif is_outage(error):
                logger.warning("database away: %s", error)
                left.append(some)
                time.sleep(PAUSE_SECONDS)
            else:
                _refuse(some[0], error)


def _refuse(ending: Ending, error: DatabaseError) -> None:
    """End a task in error whose ending the database does not store."""
    logger.error("ending refused: %s", error, extra={"task": ending.task.id})
    refused = Ending(
        task=ending.task,
        status=Status.ERROR,
        error_code="result_invalid",
        error_message=MESSAGES["result_refused"],
    )
    _until_answered(lambda: lifecycle.finish([refused]))


def _until_answered(ask: Callable[[], Answer], *, unless: Outage | None = None) -> Answer:
    """Ask the database again until it answers: no process goes on while it still holds tasks."""
    while True:
        try:
            return ask()
        except (DatabaseError, InterfaceError) as error:
            outage = outage_of(error)
            if outage is None or outage is unless:
                raise
            logger.warning("database away: %s", error)
            connection.close()
            time.sleep(PAUSE_SECONDS)
