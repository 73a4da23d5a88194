"""The values that the lifecycle takes and returns."""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any, NamedTuple

from taskyard.catalog.files import UsedFile
from taskyard.core.states import Priority, Status

# Of every table: a bigint.
LARGEST_ID = 2**63 - 1
# The primary key of the user model: an integer, a UUID or a text.
UserId = Any
# Owner (None: a system task), task, and the status it has now.
Change = tuple[UserId | None, int, Status]


class NewTask(NamedTuple):
    """A task to submit; ``timeout_seconds`` limits each attempt, ``run_at`` is aware.

    With ``delay_microseconds`` the database computes ``run_at`` by its own clock. ``files`` are the
    files that the input names, each with its path in the request. Tasks of a higher ``band`` come
    before those of all other owners; ``priority`` sorts those of one owner.
    """

    task_type: str
    queue: str
    input_data: dict[str, Any]
    priority: int = Priority.NORMAL
    max_attempts: int = 3
    timeout_seconds: float | None = None
    tags: tuple[str, ...] = ()
    run_at: datetime | None = None
    retry_of_id: int | None = None
    delay_microseconds: int | None = None
    files: tuple[UsedFile, ...] = ()
    band: int = 0

    def under(self, place: tuple[str | int, ...]) -> "NewTask":
        """The task as a part of a larger request."""
        if not self.files:
            return self
        return self._replace(
            files=tuple(UsedFile((*place, *used.path), used.file) for used in self.files)
        )


# The values that the rows of a submit leave out.
DEFAULTS = NewTask._field_defaults


class AttemptState(Enum):
    """The state of a running attempt: current, to be cancelled, or no longer the task's."""

    CURRENT = "current"
    CANCELLING = "cancelling"
    LOST = "lost"


class LossReason(Enum):
    """Why an attempt was lost whose process is gone; the values are error codes."""

    LOST = "worker_lost"
    KILLED = "cancelled_by_kill"
    TIMED_OUT = "timeout"
    UNCHARGED = "handed_back"


MESSAGES = {
    "worker_lost": "The worker was lost while it ran the task.",
    "cancelled_by_kill": "The task did not stop when asked; its process was ended.",
    "timeout": "The task took longer than its timeout.",
    "handed_back": "The worker stopped and handed the task back.",
    "unknown_task_type": "No such task type is known to the worker.",
    "secret_unreadable": (
        "The worker cannot decrypt a secret of the input. Submit the task again with the secret."
    ),
    "result_refused": "The database refused what the task returned.",
    "file_missing": "The storage has lost the bytes of the file %(name)s.",
    "file_too_large": "The task saved the file %(name)s, which has more than %(limit)s bytes.",
    "files_limit_exceeded": (
        "The task could not save the file %(name)s: all your files may take %(limit)s bytes, "
        "and it does not fit."
    ),
    "file_count_exceeded": (
        "The task could not save the file %(name)s: you have %(limit)s files, as many as allowed."
    ),
    "too_many_files": (
        "The task could not save the file %(name)s: a task may have at most %(limit)s files."
    ),
    "storage_full": "The storage of files has no space.",
    "storage_unavailable": "The storage of files does not answer.",
}


@dataclass(frozen=True)
class RescueDecision:
    """What a rescue makes of a task: its next status, and the code of the lost attempt."""

    status: Status
    code: str
    resumes: bool = False

    @classmethod
    def of(cls, reason: LossReason, *, cancelling: bool, attempts_left: bool) -> "RescueDecision":
        """Decide for a task whose process is gone."""
        if cancelling:
            return cls(Status.CANCELLED, reason.value)
        if reason == LossReason.UNCHARGED:
            return cls(Status.PENDING, reason.value, resumes=True)
        if reason == LossReason.LOST and attempts_left:
            return cls(Status.PENDING, reason.value)
        return cls(Status.ERROR, reason.value)

    @property
    def again(self) -> bool:
        """Whether the task becomes ready again; otherwise it ends."""
        return self.status == Status.PENDING


@dataclass(frozen=True)
class Limits:
    """An owner's quota: the limit of active tasks, their number, and the ids of the first."""

    active_limit: int
    active: int
    tasks: list[int]

    @property
    def available(self) -> int:
        return max(0, self.active_limit - self.active)


class ClaimedTask(NamedTuple):
    """A task that this process holds, until it writes how the attempt ended.

    ``input_data`` and ``checkpoint`` are JSON text. ``started_at`` is when the first attempt began,
    ``attempt_started_at`` when this attempt began, ``claimed_at`` when it was last claimed (also
    after a sleep). ``has_files``: it uses files, or an attempt has saved some. A
    tuple, because a process makes thousands a second.
    """

    id: int
    task_type: str
    fence: int
    attempt: int
    max_attempts: int
    input_data: str
    checkpoint: str | None
    slept: int
    timeout_seconds: float | None
    started_at: datetime
    attempt_started_at: datetime
    claimed_at: datetime
    cancel_requested: bool = False
    has_files: bool = False


class Line(NamedTuple):
    """A line of a task's log; ``level`` is empty if the handler wrote it with ``Run.log``."""

    at: datetime
    message: str
    level: str = ""


class Traceback(NamedTuple):
    """The traceback of an exception; ``location`` is the innermost frame of the author's code."""

    exception_type: str
    location: str
    text: str


class AttemptResult(NamedTuple):
    """How an attempt ended; ``wake_at`` is when the task goes on, None if at once or never.

    ``result``, ``progress`` and ``checkpoint`` are JSON text. The progress "null" leaves the last
    one. ``saved_files`` is true if the handler has saved files.
    """

    task: ClaimedTask
    status: Status
    result: str | bytes = "null"
    error_code: str = ""
    error_message: str = ""
    progress: str = "null"
    checkpoint: str = "null"
    slept: int = 0
    wake_at: datetime | None = None
    resumes: bool = False
    traceback: Traceback | None = None
    saved_files: bool = False
