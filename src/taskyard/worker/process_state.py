"""Restore the process state that a handler may have changed, before the next handler runs.

Only changes that could harm the next handler are undone. Modules, environment variables and threads
stay, because libraries keep their own state there.
"""

import gc
import locale
import os
import signal
import socket
import sys
from contextlib import suppress

from django.utils import timezone, translation

SIGNALS = [
    *(signal.SIGALRM, signal.SIGTERM, signal.SIGCHLD, signal.SIGINT, signal.SIGHUP),
    *(signal.SIGUSR1, signal.SIGUSR2, signal.SIGPIPE, signal.SIGVTALRM, signal.SIGPROF),
]
STANDARD_STREAMS = (0, 1, 2)


class ProcessState:
    """A snapshot of the process when this object is made."""

    def __init__(self) -> None:
        self._directory = os.open(".", os.O_RDONLY)
        self._path = os.getcwd()
        self._umask = os.umask(0)
        os.umask(self._umask)
        self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, [])
        self._handlers = {number: signal.getsignal(number) for number in SIGNALS}
        self._locale = locale.setlocale(locale.LC_ALL)
        self._streams = (sys.stdin, sys.stdout, sys.stderr)
        self._copies = [(stream, os.dup(stream), _identity(stream)) for stream in STANDARD_STREAMS]
        self._recursion = sys.getrecursionlimit()

    def restore(self) -> None:
        """Restore the snapshot."""
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in self._handlers.items():
            if signal.getsignal(number) is not handler:
                signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
        self._restore_streams()
        os.umask(self._umask)
        if _directory() != self._path:
            os.fchdir(self._directory)
        if locale.setlocale(locale.LC_ALL) != self._locale:
            locale.setlocale(locale.LC_ALL, self._locale)
        translation.deactivate()
        timezone.deactivate()
        gc.enable()
        sys.setrecursionlimit(self._recursion)
        socket.setdefaulttimeout(None)

    def _restore_streams(self) -> None:
        sys.stdin, sys.stdout, sys.stderr = self._streams
        for stream, copy, identity in self._copies:
            if _identity(stream) != identity:
                os.dup2(copy, stream)


def _identity(descriptor: int) -> tuple[int, int] | None:
    with suppress(OSError):
        status = os.fstat(descriptor)
        return status.st_dev, status.st_ino
    return None


def _directory() -> str | None:
    with suppress(OSError):
        return os.getcwd()
    return None
