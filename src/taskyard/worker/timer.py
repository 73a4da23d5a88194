"""The soft timeout: raises an exception in the handler, but never in our own writes."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from taskyard.catalog.run import TimedOut

AGAIN_SECONDS = 0.05
"""How long after an alarm that had no effect the next one comes."""


class _Alarm:
    """The state of this process's alarm."""

    armed = False
    """Whether a handler runs with a timeout."""
    writes = 0
    """How many of our writes are under way; each defers the exception."""
    fired = False
    """Whether the time is over and the exception has not been raised yet."""
    timed_out = TimedOut
    """The class of the exception."""


class time_limit:  # used as a function: ``with time_limit(seconds):``
    """Raises TimedOut, or the given subclass of it, in the block after ``seconds``.

    A signal interrupts only the main thread, in which Celery's processes run tasks. If the handler
    does not let the exception through, the watchdog kills the process.

    The alarm repeats until the exception has been raised. The system may deliver it to another
    thread, and CPython does not tell the main thread then before that takes the interpreter's lock
    again. If the exception comes in code whose exceptions Python ignores (a ``__del__``, a callback
    of the garbage collector), it is raised again after that code.

    Not a generator: the alarm may come after the block has ended and before the generator goes on.
    The garbage collector would then run its ``finally``, and stop the alarm of a later block.
    """

    def __init__(self, seconds: float, timed_out: type[TimedOut] = TimedOut) -> None:
        self._seconds = seconds
        self._timed_out = timed_out

    def __enter__(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        _Alarm.armed = _Alarm.fired = False
        _Alarm.timed_out = self._timed_out
        self._report_ignored, sys.unraisablehook = sys.unraisablehook, self._on_ignored
        signal.signal(signal.SIGALRM, _on_alarm)
        _set_alarm(self._seconds)
        try:
            _Alarm.armed = True
            _raise_if_due()  # the alarm may have come already
        except TimedOut:
            self.__exit__()
            raise

    def __exit__(self, *exception: object) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        _Alarm.armed = False
        _set_alarm(0)
        sys.unraisablehook = self._report_ignored

    def _on_ignored(self, ignored: "sys.UnraisableHookArgs") -> None:
        if isinstance(ignored.exc_value, TimedOut):
            _set_alarm(AGAIN_SECONDS)
        else:
            self._report_ignored(ignored)


@contextmanager
def deferring() -> Iterator[None]:
    """Defer TimedOut until the block has ended, so that it interrupts no write of ours."""
    _Alarm.writes += 1
    try:
        yield
    finally:
        _Alarm.writes -= 1
        _raise_if_due()


def _set_alarm(seconds: float) -> None:
    """Let the alarm come after ``seconds`` and then repeatedly; 0 stops it."""
    signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN_SECONDS)


def _on_alarm(signum: int, frame: FrameType | None) -> None:
    _Alarm.fired = True
    _raise_if_due()


def _raise_if_due() -> None:
    if _Alarm.fired and _Alarm.armed and not _Alarm.writes:
        _Alarm.fired = False
        _set_alarm(0)
        raise _Alarm.timed_out
