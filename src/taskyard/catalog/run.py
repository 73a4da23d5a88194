"""Run: what a handler may ask for while it works on one attempt of one task."""

import math
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, NamedTuple

from taskyard.catalog.encoding import encode_json, sanitize

REPORT_INTERVAL_SECONDS = 0.5
LINES_A_REPORT = 100
LINE_LENGTH = 2000
CHECKPOINT_LIMIT = 64 * 1024


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
    """Leaves the handler where it is; not an Exception, so ``except Exception`` lets it by."""


class Suspend(Stop):
    """The handler sleeps until ``wake_at``."""

    def __init__(self, wake_at: datetime) -> None:
        super().__init__(wake_at)
        self.wake_at = wake_at


class Cancelled(Stop):
    """Somebody asked for the task to be cancelled, and the handler noticed."""


class TimedOut(Stop):
    """The attempt has taken longer than its timeout."""


class Owner(NamedTuple):
    """The user whom a task belongs to."""

    id: int
    name: str


class About(NamedTuple):
    """What is looked up of a task only if its handler asks."""

    owner: Owner
    tags: tuple[str, ...]
    priority: str


class Run:
    """One attempt of one task, as its handler sees it.

    ``task_id``, ``task_type`` and ``attempt`` say which; ``key`` is the same for every attempt, so
    a handler can make its own side effects idempotent; ``started_at`` is when the first attempt
    began, by the database's clock. ``Run()`` stands for any task, for a handler's unit tests; a
    sleep then raises ``taskyard.catalog.run.Suspend``, as it does in a worker.

    A handler that sleeps is left and later called again from its top: the sleeps it has already
    slept return at once, and ``checkpoint`` holds what it last kept. Setting ``checkpoint``
    forgets the sleeps before it, so a loop may keep its place and sleep in every round.
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
        look_up: Callable[[], About] = lambda: About(Owner(1, "owner"), (), "normal"),
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
        self._progress: tuple[float, float | None, str, datetime] | None = None
        self._checkpoint = checkpoint
        self._sleeps_called = 0
        self._clock_start = now
        self._monotonic_start = self._reported_at = time.monotonic()
        self._report = report
        self._keep = keep
        self._stopping = False
        self._saying = threading.Lock()
        self._look_up = look_up

    def now(self) -> datetime:
        """The time (aware, UTC) by the database's clock."""
        return self._clock_start + timedelta(seconds=time.monotonic() - self._monotonic_start)

    @property
    def owner(self) -> Owner:
        """The user whom the task belongs to: ``id`` and ``name``. Looked up once."""
        return self._about.owner

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags of the task. Looked up once."""
        return self._about.tags

    @property
    def priority(self) -> str:
        """``low``, ``normal`` or ``high``. Looked up once."""
        return self._about.priority

    @cached_property
    def _about(self) -> About:
        return self._look_up()

    def progress(self, current: float, total: float | None = None, message: str = "") -> None:
        """Say how far the task is. Cheap: the database sees at most two reports a second.

        Raises ValueError, TypeError or OverflowError for what is no finite number, Cancelled when
        asked to stop.
        """
        whole = None if total is None else _finite(total)
        self._progress = (_finite(current), whole, str(message), self.now())
        self.raise_if_cancelled()

    def log(self, message: str) -> None:
        """Keep a line for the task's owner (2,000 characters of it).

        What is said faster than some hundred lines a second, or beyond a thousand lines a task,
        is dropped and counted where it is missing. Raises Cancelled when asked to stop.
        """
        text = sanitize(str(message))[:LINE_LENGTH]
        with self._saying:
            if len(self.lines) < LINES_A_REPORT:
                self.lines.append((self.now(), text))
            else:
                self.lines_dropped += 1
        self.raise_if_cancelled()

    def take_lines(self) -> tuple[list[tuple[datetime, str]], int]:
        """The lines said since the last time, and how many more there were."""
        with self._saying:
            taken, self.lines = self.lines, []
            dropped, self.lines_dropped = self.lines_dropped, 0
        return taken, dropped

    def put_back(self, lines: list[tuple[datetime, str]], dropped: int) -> None:
        """Lines that were taken and could not be kept."""
        with self._saying:
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
        """Raises Cancelled when the task should stop."""
        if self.cancelled:
            raise Cancelled

    @property
    def last_progress(self) -> str | None:
        """The last progress said, as JSON text."""
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
        """A small JSON value (64 KiB), kept across sleeps and attempts; None until it is set."""
        return self._checkpoint

    @checkpoint.setter
    def checkpoint(self, value: Any) -> None:
        """Durable when the assignment returns.

        Raises ValueError or TypeError for what is not JSON, or too large; Cancelled when the task
        was given to another attempt.
        """
        text = encode_json(value, limit=CHECKPOINT_LIMIT)
        before = self._checkpoint, self.slept, self._sleeps_called
        # First here, for the attempt may be timed out when it is durable, before we are told so.
        self._checkpoint, self.slept, self._sleeps_called = value, 0, 0
        try:
            kept = self._keep is None or self._keep(self, text)
        except TimedOut:
            raise
        except BaseException:
            self._checkpoint, self.slept, self._sleeps_called = before
            raise
        if not kept:
            self._checkpoint, self.slept, self._sleeps_called = before
            raise Cancelled


def _finite(number: float) -> float:
    """As JSON has numbers: a whole one stays whole, a Decimal or NumPy's becomes a float."""
    plain = number if type(number) is int else float(number)
    if not math.isfinite(plain):
        raise ValueError("progress is in finite numbers")
    return plain
