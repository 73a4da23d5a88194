"""The soft timeout: an exception in the handler when its time is over."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from taskyard.catalog.run import TimedOut


@contextmanager
def time_limit(seconds: float | None) -> Iterator[None]:
    """Raises TimedOut in the block after ``seconds``.

    Only the main thread can be interrupted so, which is where Celery's processes run tasks; the
    guard ends whoever does not let itself be interrupted.
    """
    if seconds is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGALRM, _raise)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _raise(signum: int, frame: FrameType | None) -> None:
    raise TimedOut
