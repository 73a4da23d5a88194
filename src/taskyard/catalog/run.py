"""Run: the context of one attempt of one task, for its handler."""

import math
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, NamedTuple, TypeVar

from taskyard.catalog.encoding import encode_json, sanitize
from taskyard.catalog.files import OutputFile, Source, pieces, reading

REPORT_INTERVAL_SECONDS = 0.5
LINES_A_REPORT = 100
LINE_LENGTH = 2000
CHECKPOINT_LIMIT = 64 * 1024
Answer = TypeVar("Answer")


class Retry(Exception):
    """Raised by a handler: end this attempt, try again ``after`` seconds (default: back-off)."""

    def __init__(self, message: str = "", *, after: float | None = None) -> None:
        super().__init__(message)
        self.after = after


class Fail(Exception):
    """Raised by a handler: end the task in error now, with a code and a message."""

    def __init__(self, code: str, message: str = "") -> None:
        super().__init__(message)
        self.code = str(code)
        self.message = message


class Stop(BaseException):
    """Ends a call of the handler. ``except Exception`` does not catch it."""


class Suspend(Stop):
    """The handler sleeps until ``wake_at``; then it is called again."""

    def __init__(self, wake_at: datetime) -> None:
        super().__init__(wake_at)
        self.wake_at = wake_at


class Cancelled(Stop):
    """The task was cancelled, or given to another attempt."""


class TimedOut(Stop):
    """The attempt has taken longer than its timeout."""


class Owner(NamedTuple):
    """The user that owns a task; ``id`` is the primary key of the user model."""

    id: Any
    name: str


class About(NamedTuple):
    """Details of a task that are read from the database only if the handler needs them."""

    owner: Owner | None
    tags: tuple[str, ...]
    priority: str


class Run:
    """The context of one attempt of one task, for its handler.

    ``task_id``, ``task_type`` and ``attempt`` identify the attempt. ``key`` is the same for every
    attempt, so that a handler can make its own side effects idempotent. ``started_at`` is the start
    of the first attempt by the database's clock. In unit tests, ``Run()`` is the context of some
    task; a sleep then raises ``taskyard.catalog.run.Suspend``, as it does in a worker, and
    ``saved`` has the bytes of the files that the handler has saved, by their names.

    A sleep ends the call of the handler, and the worker later calls the handler again from its
    beginning: then the sleeps that are over return at once, and ``checkpoint`` has the value that
    was last set. Setting ``checkpoint`` resets the count of sleeps, so a loop can save its position
    and sleep in every iteration.
    """

    def __init__(
        self,
        *,
        task_id: int = 1,
        task_type: str = "",
        attempt: int = 1,
        started_at: datetime | None = None,
        now: datetime | None = None,
        checkpoint: Any = None,
        slept: int = 0,
        report: Callable[["Run"], bool] | None = None,
        keep: Callable[["Run", str], bool] | None = None,
        save: Callable[["Run", str, Source], OutputFile] | None = None,
        look_up: Callable[[], About] = lambda: About(Owner(1, "owner"), (), "normal"),
        ask: Callable[[Callable[[], Any]], Any] = lambda question: question(),
        scrub: Callable[[str], str] = lambda text: text,
    ) -> None:
        now = now or datetime.now(UTC)
        self.task_id = task_id
        self.task_type = task_type
        self.attempt = attempt
        self.started_at = started_at or now
        self.key = f"task-{task_id}"
        self.slept = slept
        self.lines: list[tuple[datetime, str]] = []
        self.lines_dropped = 0
        self.saved: dict[str, bytes] = {}
        self.has_saved_files = False
        self._progress: tuple[float, float | None, str, datetime] | None = None
        self._checkpoint = checkpoint
        self._sleeps_called = 0
        self._clock_start = now
        self._monotonic_start = self._reported_at = time.monotonic()
        self._report = report
        self._keep = keep
        self._save = save
        self._stopping = False
        self._lines_lock = threading.Lock()
        self._look_up = look_up
        self._ask = ask
        self._scrub = scrub

    def now(self) -> datetime:
        """The time (aware, UTC) by the database's clock."""
        return self._clock_start + timedelta(seconds=time.monotonic() - self._monotonic_start)

    @property
    def owner(self) -> Owner | None:
        """The user that owns the task: ``id`` and ``name``; None for a system task.

        Read from the database once.
        """
        return self._about.owner

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags of the task. Read from the database once."""
        return self._about.tags

    @property
    def priority(self) -> str:
        """``low``, ``normal`` or ``high``. Read from the database once."""
        return self._about.priority

    @cached_property
    def _about(self) -> About:
        return self._look_up()

    def ask(self, question: Callable[[], Answer]) -> Answer:
        """Call ``question`` with the worker's own connection to the database; for integrations.

        The handler's connection and its transaction stay as they are.
        """
        answer: Answer = self._ask(question)
        return answer

    def save_file(self, name: str, source: Source) -> OutputFile:
        """Save a file of the task, which its owner sees when the task has ended.

        ``source`` is a path, bytes, or a binary stream, which is read from its beginning if it can
        seek. It is copied in pieces, so it may be larger than the memory. A file replaces what the
        task has saved under the same name before; what a lost attempt has saved is deleted.

        Works in the handler's threads too. It waits for the storage, so an async handler calls it
        as ``await asyncio.to_thread(run.save_file, name, source)``. On SQLite it cannot be called
        in a transaction of the handler.

        Raises Cancelled if the task should stop, Fail if the file or all files of the owner are too
        large, StorageError if the storage is full or does not answer, RuntimeError.
        """
        if not isinstance(name, str):
            raise TypeError(f"the name of a file is a string, not {type(name).__name__}")
        self.has_saved_files = True
        if self._save is not None:
            return self._save(self, name, source)
        with reading(source) as (stream, _):
            self.saved[name] = b"".join(pieces(stream))
        return OutputFile(len(self.saved), name, len(self.saved[name]))

    def progress(self, current: float, total: float | None = None, message: str = "") -> None:
        """Report the progress. Cheap: it is written to the database at most twice a second.

        Raises ValueError, TypeError or OverflowError if a number is not finite; Cancelled if the
        task should stop.
        """
        finite_total = None if total is None else _finite(total)
        self._progress = (_finite(current), finite_total, self._scrub(str(message)), self.now())
        self.raise_if_cancelled()

    def log(self, message: str) -> None:
        """Add a line to the task's log, for its owner; its first 2,000 characters.

        Lines above some hundred a second, or above a thousand a task, are dropped and counted.
        Raises Cancelled if the task should stop.
        """
        text = sanitize(self._scrub(str(message)))[:LINE_LENGTH]
        with self._lines_lock:
            if len(self.lines) < LINES_A_REPORT:
                self.lines.append((self.now(), text))
            else:
                self.lines_dropped += 1
        self.raise_if_cancelled()

    def take_lines(self) -> tuple[list[tuple[datetime, str]], int]:
        """The lines since the last call, and how many were dropped."""
        with self._lines_lock:
            lines, self.lines = self.lines, []
            dropped, self.lines_dropped = self.lines_dropped, 0
        return lines, dropped

    def put_back(self, lines: list[tuple[datetime, str]], dropped: int) -> None:
        """Put lines back that were taken and could not be written."""
        with self._lines_lock:
            self.lines = lines + self.lines
            self.lines_dropped += dropped

    @property
    def cancelled(self) -> bool:
        """Whether the task should stop: it was cancelled, or given to another attempt."""
        if self._report and time.monotonic() - self._reported_at >= REPORT_INTERVAL_SECONDS:
            self._stopping = self._report(self) or self._stopping
            self._reported_at = time.monotonic()
        return self._stopping

    def raise_if_cancelled(self) -> None:
        """Raise Cancelled if the task should stop."""
        if self.cancelled:
            raise Cancelled

    @property
    def last_progress(self) -> str | None:
        """The last progress, as JSON text."""
        if self._progress is None:
            return None
        current, total, message, at = self._progress
        percent = None if not total else round(min(100.0, max(0.0, 100 * current / total)), 1)
        return encode_json(
            {
                "current": current,
                "total": total,
                "percent": percent,
                "message": sanitize(message)[:500],
                "updated_at": f"{at:%Y-%m-%dT%H:%M:%S.%fZ}",
            }
        )

    def sleep(self, seconds: float) -> None:
        """Wait at least ``seconds``, durably and without holding a worker."""
        self.sleep_until(self.now() + timedelta(seconds=seconds))

    def sleep_until(self, when: datetime) -> None:
        """Wait until ``when`` (aware), durably and without holding a worker."""
        self._sleeps_called += 1
        if self._sleeps_called <= self.slept:
            return
        self.slept = self._sleeps_called
        if when > self.now():
            raise Suspend(when)

    @property
    def checkpoint(self) -> Any:
        """A JSON value (64 KiB at most) that survives sleeps and attempts; None until it is set."""
        return self._checkpoint

    @checkpoint.setter
    def checkpoint(self, value: Any) -> None:
        """Store the value; it is durable when the assignment returns.

        Raises ValueError or TypeError if it is not JSON or too large; Cancelled if the task was
        given to another attempt.
        """
        text = encode_json(value, limit=CHECKPOINT_LIMIT)
        before = self._checkpoint, self.slept, self._sleeps_called
        # Set before the write: a timeout may interrupt after the write is durable and before it
        # returns.
        self._checkpoint, self.slept, self._sleeps_called = value, 0, 0
        try:
            is_stored = self._keep is None or self._keep(self, text)
        except TimedOut:
            raise
        except BaseException:
            self._checkpoint, self.slept, self._sleeps_called = before
            raise
        if not is_stored:
            self._checkpoint, self.slept, self._sleeps_called = before
            raise Cancelled


def _finite(number: float) -> float:
    """An int as it is, any other number, such as a Decimal or NumPy's, as a float."""
    converted = number if type(number) is int else float(number)
    if not math.isfinite(converted):
        raise ValueError("progress must be a finite number")
    return converted
