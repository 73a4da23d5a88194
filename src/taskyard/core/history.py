"""The history of a task: its attempts in order, their tracebacks, and its log."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from taskyard.catalog.run import About, Owner
from taskyard.core import audit
from taskyard.core.models import Attempt, AttemptTraceback, LogLine, Task
from taskyard.core.states import TERMINAL, Priority, Status
from taskyard.core.types import MESSAGES, AttemptResult, Line

LINES_KEPT = 1000
LINE_LENGTH = 2000


@dataclass(frozen=True)
class PastAttempt:
    """An attempt as it is shown.

    ``outcome`` is running, suspended, handed_back, lost, failed, or a terminal status.
    """

    number: int
    started_at: datetime | None
    ended_at: datetime | None
    outcome: str
    error_code: str
    error_message: str
    traceback: str = ""


def attempts(task: Task) -> list[PastAttempt]:
    """The attempts in order; the last is on the task itself, the others have rows."""
    tracebacks = dict(task.tracebacks.values_list("fence", "text"))
    past = [
        PastAttempt(
            number=row.number,
            started_at=row.started_at,
            ended_at=row.ended_at,
            outcome="lost" if row.error_code == "worker_lost" else "failed",
            error_code=row.error_code,
            error_message=row.error_message,
            traceback=tracebacks.get(row.fence, ""),
        )
        for row in task.attempts.order_by("fence")
    ]
    if task.attempt == 0 or any(row.number == task.attempt for row in past):
        return past
    return [
        *past,
        PastAttempt(
            number=task.attempt,
            started_at=task.claimed_at,
            ended_at=task.finished_at,
            outcome=_outcome(task),
            error_code=task.error_code,
            error_message=task.error_message,
            traceback=tracebacks.get(task.fence, ""),
        ),
    ]


def _outcome(task: Task) -> str:
    if task.status in TERMINAL:
        return str(task.status)
    if task.worker_id is not None:
        return "running"
    return "suspended" if task.status == Status.IN_PROGRESS else "handed_back"


def about(task_id: int) -> About:
    """The owner, tags and priority of a task, for its handler. Raises Task.DoesNotExist."""
    task = Task.objects.only("owner", "tags", "priority").get(id=task_id)
    owner = None
    if task.owner_id is not None:
        owner = Owner(task.owner_id, audit.name_of(task.owner_id))
    return About(owner, tuple(task.tags), Priority(task.priority).name.lower())


def record_attempts(endings: Iterable[AttemptResult]) -> None:
    """Write rows for attempts that ended without ending their task."""
    rows = [
        Attempt(
            task_id=ending.task.id,
            number=ending.task.attempt,
            fence=ending.task.fence,
            started_at=ending.task.attempt_started_at,
            error_code=ending.error_code,
            error_message=ending.error_message,
        )
        for ending in endings
    ]
    if rows:
        Attempt.objects.bulk_create(rows)


def record_tracebacks(endings: Iterable[AttemptResult]) -> None:
    """Write the tracebacks of attempts that ended with an exception."""
    rows = [
        AttemptTraceback(
            task_id=ending.task.id, fence=ending.task.fence, **ending.traceback._asdict()
        )
        for ending in endings
        if ending.traceback
    ]
    if rows:
        AttemptTraceback.objects.bulk_create(rows)


def record_lost(tasks: Iterable[Task], code: str) -> None:
    """Write rows for lost attempts of tasks that run again."""
    Attempt.objects.bulk_create(
        Attempt(
            task=task,
            number=task.attempt,
            fence=task.fence,
            started_at=task.claimed_at or task.created_at,
            error_code=code,
            error_message=MESSAGES[code],
        )
        for task in tasks
    )


def write_lines(
    task_id: int, attempt: int, lines: Sequence[Line], *, kept: int, dropped: int
) -> int:
    """Write log lines up to the limit of a task; how many lines it has then.

    ``kept`` is how many it has already. Lines beyond the limit, and the ``dropped`` that the
    handler wrote too fast, are counted on the last written line, so that the gap is visible.
    """
    fitting = list(lines[: max(0, LINES_KEPT - kept)])
    dropped += len(lines) - len(fitting)
    rows = [LogLine(task_id=task_id, attempt=attempt, **line._asdict()) for line in fitting]
    if rows:
        rows[-1].dropped = dropped
        LogLine.objects.bulk_create(rows)
    elif dropped:
        last = LogLine.objects.filter(task_id=task_id).order_by("-id").first()
        if last is not None:
            last.dropped += dropped
            last.save(update_fields=["dropped"])
    return kept + len(rows)


def lines_kept(task_id: int, *, logged: bool = False) -> int:
    """How many lines a task has: of ``Run.log``, or those that were logged and printed.

    Each kind has its own limit, so a library that logs much takes no lines from the handler.
    """
    lines = LogLine.objects.filter(task_id=task_id)
    return (lines.exclude(level="") if logged else lines.filter(level="")).count()
