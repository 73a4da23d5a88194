"""Run claimed tasks, in a worker's child process: claim, call, catch everything, finish."""

import logging
import os
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

from django.db import DatabaseError, InterfaceError, OperationalError, connection

from taskyard.catalog.encoding import encode_json
from taskyard.catalog.run import Fail, Retry, Run, Suspend
from taskyard.catalog.schema import InvalidInput
from taskyard.catalog.task_type import BadResult, TaskType, UnknownTaskType, registry
from taskyard.core import lifecycle
from taskyard.core.lifecycle import Claimed, Ending
from taskyard.core.models import Task
from taskyard.core.states import Status
from taskyard.worker import identity
from taskyard.worker.bell import ring, silence

SLICE_SECONDS = 1.0
PAUSE_SECONDS = 1.0
MESSAGE_LENGTH = 2000
Answer = TypeVar("Answer")
logger = logging.getLogger(__name__)


def work(queue: str) -> None:
    """Do what is ready in a queue for ``SLICE_SECONDS``; then let other queues have a turn."""
    silence(queue)
    caps = {known.name: known.batch for known in registry.all()}
    until = time.monotonic() + SLICE_SECONDS
    while True:
        claimed, more = _claim(queue, caps)
        if not claimed:
            return
        if more:
            ring(queue)
        _finish([execute(task) for task in claimed])
        if time.monotonic() > until:
            ring(queue)
            return


def execute(task: Claimed) -> Ending:
    """Call the task's handler and say how the attempt ended. Lets nothing out."""
    run = Run(
        task_id=task.id,
        attempt=task.attempt,
        started_at=task.started_at,
        now=task.claimed_at,
        checkpoint=task.checkpoint,
        slept=task.slept,
        save_progress=partial(_save_progress, task),
    )
    end = partial(_end, task, run)
    try:
        task_type = registry.get(task.task_type)
    except UnknownTaskType:
        return end(Status.ERROR, "unknown_task_type", "No such task type is known here.")
    try:
        result = task_type.encode_result(task_type.call(run, task.input_data))
    except Suspend as suspend:
        return end(Status.IN_PROGRESS, wake_at=suspend.wake_at, resumes=True)
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
    return _end(
        task, run, Status.PENDING, code, message, wake_at=run.now() + timedelta(seconds=pause)
    )


def _end(
    task: Claimed, run: Run, status: Status, code: str = "", message: str = "", **how: Any
) -> Ending:
    return Ending(
        task=task,
        status=status,
        error_code=_storable(code)[:100],
        error_message=_storable(message)[:MESSAGE_LENGTH],
        progress=run.last_progress or "null",
        checkpoint=encode_json(run.checkpoint),
        slept=run.slept,
        **how,
    )


def _storable(text: str) -> str:
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode(errors="replace").decode()


def _save_progress(task: Claimed, run: Run) -> None:
    lifecycle.save_progress(task, run.last_progress or "null")


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
    _until_answered(lambda: lifecycle.rescue(Task.objects.filter(worker=me, process=process)))
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
