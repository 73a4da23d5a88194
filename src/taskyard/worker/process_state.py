"""What a handler may change of its process, put back before the next one runs.

Only what the next handler would be harmed by. Modules, the environment's variables and threads
stay as they are: libraries keep what they need in them.
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
    """As it is when this is made."""

    def __init__(self) -> None:
        self._directory = os.open(".", os.O_RDONLY)
        self._path = os.getcwd()
        self._umask = os.umask(0)
        os.umask(self._umask)
        self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, [])
        self._handlers = {which: signal.getsignal(which) for which in SIGNALS}
        self._locale = locale.setlocale(locale.LC_ALL)
        self._streams = (sys.stdin, sys.stdout, sys.stderr)
        self._copies = [(number, os.dup(number), _identity(number)) for number in STANDARD_STREAMS]
        self._recursion = sys.getrecursionlimit()

    def put_back(self) -> None:
        """Make the process as it was, where it is not."""
        signal.setitimer(signal.ITIMER_REAL, 0)
        for which, handler in self._handlers.items():
            if signal.getsignal(which) is not handler:
                signal.signal(which, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
        self._put_back_streams()
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

    def _put_back_streams(self) -> None:
        sys.stdin, sys.stdout, sys.stderr = self._streams
        for number, copy, identity in self._copies:
            if _identity(number) != identity:
                os.dup2(copy, number)


def _identity(descriptor: int) -> tuple[int, int] | None:
    with suppress(OSError):
        found = os.fstat(descriptor)
        return found.st_dev, found.st_ino
    return None


def _directory() -> str | None:
    with suppress(OSError):
        return os.getcwd()
    return None
