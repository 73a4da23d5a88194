"""Run: what a handler may ask for while it works on one attempt of one task."""

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from taskyard.catalog.encoding import encode_json

PROGRESS_INTERVAL_SECONDS = 0.5
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
        self.code = code
        self.message = message


class Suspend(BaseException):
    """Leaves the handler when it sleeps; a BaseException, so ``except Exception`` lets it by."""

    def __init__(self, wake_at: datetime) -> None:
        super().__init__(wake_at)
        self.wake_at = wake_at


class Run:
    """One attempt of one task, as its handler sees it.

    ``task_id`` and ``attempt`` say which; ``key`` is the same for every attempt, so a handler
    can make its own side effects idempotent; ``started_at`` is when the first attempt began,
    by the database's clock.

    A handler that sleeps is left and later called again from its top: the sleeps it has already
    slept return at once, and ``checkpoint`` holds what it last kept. Setting ``checkpoint``
    forgets the sleeps before it, so a loop may keep its place and sleep in every round.
    """

    def __init__(
        self,
        *,
        task_id: int,
        attempt: int,
        started_at: datetime,
        now: datetime,
        checkpoint: Any = None,
        slept: int = 0,
        save_progress: Callable[["Run"], None] | None = None,
    ) -> None:
        self.task_id = task_id
        self.attempt = attempt
        self.started_at = started_at
        self.key = f"task-{task_id}"
        self.last_progress: str | None = None
        self.slept = slept
        self._checkpoint = checkpoint
        self._sleeps_called = 0
        self._clock_start = now
        self._monotonic_start = time.monotonic()
        self._save_progress = save_progress
        self._progress_saved_at = self._monotonic_start

    def now(self) -> datetime:
        """The time (aware, UTC) by the database's clock."""
        return self._clock_start + timedelta(seconds=time.monotonic() - self._monotonic_start)

    def progress(self, current: float, total: float | None = None, message: str = "") -> None:
        """Say how far the task is. Cheap: the database sees at most two reports a second.

        Raises ValueError for a number or a message that JSON cannot carry.
        """
        percent = None if not total else round(min(100.0, max(0.0, 100 * current / total)), 1)
        self.last_progress = encode_json(
            {
                "current": current,
                "total": total,
                "percent": percent,
                "message": message[:500],
                "updated_at": f"{self.now():%Y-%m-%dT%H:%M:%S.%fZ}",
            }
        )
        elapsed = time.monotonic() - self._progress_saved_at
        if self._save_progress and elapsed >= PROGRESS_INTERVAL_SECONDS:
            self._progress_saved_at = time.monotonic()
            self._save_progress(self)

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
        """Raises ValueError or TypeError for what is not JSON, or too large."""
        encode_json(value, limit=CHECKPOINT_LIMIT)
        self._checkpoint = value
        self.slept = self._sleeps_called = 0
