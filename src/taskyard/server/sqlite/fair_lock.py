"""Turns at a file: who has waited long is next, within a process and between processes.

``threading.Lock`` is given to whoever asks at the right moment, and so is a file: under load some
never get it. Strictly one after the other would cost half of the writes, for whoever is next has
to wake up first. So the quick go first until somebody has waited for ``LONG_SECONDS``.
"""

import mmap
import os
import struct
import threading
import time
from collections import deque
from contextlib import suppress

LOOK_SECONDS = 0.0003
LONG_SECONDS = 0.25
CLOSED_SECONDS = 0.05
FORK_SECONDS = 2.0
MOMENT = struct.Struct("d")


class Waiter:
    def __init__(self, since: float) -> None:
        self.since = since
        self.called = threading.Semaphore(0)
        self.has_it = False


class FairLock:
    """A lock of this process's threads. Whoever has waited long gets it in the order of waiting."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_taken = False
        self._waiting: deque[Waiter] = deque()

    def acquire(self, timeout: float) -> bool:
        with self._lock:
            if self._take():
                return True
            waiter = Waiter(time.monotonic())
            self._waiting.append(waiter)
        until = waiter.since + timeout
        while waiter.called.acquire(timeout=max(0.0, until - time.monotonic())):
            with self._lock:
                if waiter.has_it:
                    return True
                if self._take():
                    self._waiting.remove(waiter)
                    return True
        with self._lock:
            if not waiter.has_it:
                self._waiting.remove(waiter)
            return waiter.has_it

    def release(self) -> None:
        with self._lock:
            first = self._waiting[0] if self._waiting else None
            if first and time.monotonic() - first.since > LONG_SECONDS:
                self._waiting.popleft()
                first.has_it = True
            else:
                self._is_taken = False
            if first:
                first.called.release()

    def _take(self) -> bool:
        if self._is_taken:
            return False
        self._is_taken = True
        return True


class Gate:
    """Closed by a process that has waited long, until it writes.

    It is a moment in a few bytes that all processes share: until then others let it go first. One
    that dies in between holds nobody up.
    """

    def __init__(self, database: str) -> None:
        self._closed_until: mmap.mmap | None = None
        if database.startswith(("file:", ":")):
            return  # in memory
        with suppress(OSError), open(f"{database}-turn", "a+b") as file:
            file.truncate(MOMENT.size)
            self._closed_until = mmap.mmap(file.fileno(), MOMENT.size)

    def pass_through(self, until: float) -> None:
        """Wait while it is closed, until a moment of ``time.monotonic`` at the latest."""
        while self._moment() > time.monotonic() and time.monotonic() < until:
            time.sleep(LOOK_SECONDS)

    def close(self) -> None:
        if self._closed_until is not None:
            MOMENT.pack_into(self._closed_until, 0, time.monotonic() + CLOSED_SECONDS)

    def open(self) -> None:
        if self._closed_until is not None:
            MOMENT.pack_into(self._closed_until, 0, 0.0)

    def _moment(self) -> float:
        if self._closed_until is None:
            return 0.0
        moment: float = MOMENT.unpack_from(self._closed_until)[0]
        # A value from before a restart of the machine, or half of one, is none.
        return moment if moment < time.monotonic() + 2 * CLOSED_SECONDS else 0.0


class Turn:
    """The turns at one file, for one of this process's threads at a time."""

    def __init__(self, database: str) -> None:
        self.threads = FairLock()
        self.processes = Gate(database)
        self._since = 0.0
        self._has_closed = False

    def begin(self, until: float) -> bool:
        """Wait for the turn until a moment of ``time.monotonic``; whether it has come."""
        if not self.threads.acquire(until - time.monotonic()):
            return False
        self.processes.pass_through(until)
        self._since = time.monotonic()
        return True

    def wait(self) -> None:
        """Another process writes."""
        if time.monotonic() - self._since > LONG_SECONDS:
            self._has_closed = True
            self.processes.close()
        time.sleep(LOOK_SECONDS)

    def has_come(self) -> None:
        """The file is ours: others may wait for it again."""
        if self._has_closed:
            self._has_closed = False
            self.processes.open()

    def end(self) -> None:
        self.has_come()
        self.threads.release()


_turns: dict[str, Turn] = {}
_making = threading.Lock()
_kept_from_writing: list[FairLock] = []


def turn_at(database: str) -> Turn:
    turn = _turns.get(database)
    if turn is None:
        with _making:
            turn = _turns.setdefault(database, _turns.get(database) or Turn(database))
    return turn


def _before_fork() -> None:
    """A new process has a copy of SQLite's memory, and what a thread had locked there nobody would
    ever unlock: it could not write. So nobody writes meanwhile."""
    for turn in list(_turns.values()):
        if turn.threads.acquire(timeout=FORK_SECONDS):
            _kept_from_writing.append(turn.threads)


def _in_the_parent() -> None:
    while _kept_from_writing:
        _kept_from_writing.pop().release()


def _in_the_child() -> None:
    global _making
    _making = threading.Lock()
    _turns.clear()
    _kept_from_writing.clear()


os.register_at_fork(
    before=_before_fork, after_in_parent=_in_the_parent, after_in_child=_in_the_child
)
