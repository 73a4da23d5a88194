"""The soft timeout: an exception in the handler when its time is over, and never in our writes."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from taskyard.catalog.run import TimedOut


class _Alarm:
    """Whether the handler's time is counted, how many writes hold the alarm off, if it rang."""

    armed = False
    writes = 0
    rang = False


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raises TimedOut in the block after ``seconds``.

    Only the main thread can be interrupted so, which is where Celery's processes run tasks; the
    watchdog ends whoever does not let itself be interrupted.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _Alarm.rang = False
    signal.signal(signal.SIGALRM, _notify)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        _Alarm.armed = True
        _raise_if_due()  # the alarm may have come already
        yield
    finally:
        _Alarm.armed = False
        signal.setitimer(signal.ITIMER_REAL, 0)


@contextmanager
def deferring() -> Iterator[None]:
    """Holds TimedOut off until the block has ended: what we write is written wholly or not."""
    _Alarm.writes += 1
    try:
        yield
    finally:
        _Alarm.writes -= 1
        _raise_if_due()


def _notify(signum: int, frame: FrameType | None) -> None:
    _Alarm.rang = True
    _raise_if_due()


def _raise_if_due() -> None:
    if _Alarm.rang and _Alarm.armed and not _Alarm.writes:
        _Alarm.rang = False
        raise TimedOut
