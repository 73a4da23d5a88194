"""The soft timeout: raises an exception in the handler, but never in our own writes."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from taskyard.catalog.run import TimedOut


class _Alarm:
    """The state of this process's alarm."""

    armed = False
    """Whether a handler runs with a timeout."""
    writes = 0
    """How many of our writes are under way; each defers the exception."""
    fired = False
    """Whether the time is over and the exception has not been raised yet."""


class time_limit:  # used as a function: ``with time_limit(seconds):``
    """Raises TimedOut in the block after ``seconds``.

    A signal interrupts only the main thread, in which Celery's processes run tasks. If the handler
    does not let the exception through, the watchdog kills the process.

    Not a generator: the alarm may come after the block has ended and before the generator goes on.
    The garbage collector would then run its ``finally``, and stop the alarm of a later block.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def __enter__(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        _Alarm.armed = _Alarm.fired = False
        signal.signal(signal.SIGALRM, _on_alarm)
        signal.setitimer(signal.ITIMER_REAL, self._seconds)
        _Alarm.armed = True
        _raise_if_due()  # the alarm may have come already

    def __exit__(self, *exception: object) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        _Alarm.armed = False
        signal.setitimer(signal.ITIMER_REAL, 0)


@contextmanager
def deferring() -> Iterator[None]:
    """Defer TimedOut until the block has ended, so that it interrupts no write of ours."""
    _Alarm.writes += 1
    try:
        yield
    finally:
        _Alarm.writes -= 1
        _raise_if_due()


def _on_alarm(signum: int, frame: FrameType | None) -> None:
    _Alarm.fired = True
    _raise_if_due()


def _raise_if_due() -> None:
    if _Alarm.fired and _Alarm.armed and not _Alarm.writes:
        _Alarm.fired = False
        raise TimedOut
