"""A fair write lock for a SQLite file, within a process and between processes.

``threading.Lock`` and SQLite's file lock go to the thread that asks at the right moment: under
load some threads never get them. A strict queue would halve the number of writes, because the next
thread must wake up first. So a running thread may take the lock before a sleeping one, until the
first waiter has waited for ``LONG_SECONDS``.
"""

import mmap
import os
import struct
import threading
import time
from collections import deque
from contextlib import suppress

POLL_SECONDS = 0.0003
LONG_SECONDS = 0.25
GATE_SECONDS = 0.05
FORK_TIMEOUT_SECONDS = 2.0
TIMESTAMP = struct.Struct("d")


class Waiter:
    def __init__(self, since: float) -> None:
        self.since = since
        self.wakeup = threading.Semaphore(0)
        self.has_lock = False


class FairLock:
    """A lock for the threads of one process.

    A waiter that has waited for ``LONG_SECONDS`` gets it before all that came later.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_locked = False
        self._waiters: deque[Waiter] = deque()

    def acquire(self, timeout: float) -> bool:
        with self._lock:
            if self._try_acquire():
                return True
            waiter = Waiter(time.monotonic())
            self._waiters.append(waiter)
        deadline = waiter.since + timeout
        while waiter.wakeup.acquire(timeout=max(0.0, deadline - time.monotonic())):
            with self._lock:
                if waiter.has_lock:
                    return True
                if self._try_acquire():
                    self._waiters.remove(waiter)
                    return True
        with self._lock:
            if not waiter.has_lock:
                self._waiters.remove(waiter)
            return waiter.has_lock

    def release(self) -> None:
        with self._lock:
            first = self._waiters[0] if self._waiters else None
            if first and time.monotonic() - first.since > LONG_SECONDS:
                self._waiters.popleft()
                first.has_lock = True
            else:
                self._is_locked = False
            if first:
                first.wakeup.release()

    def _try_acquire(self) -> bool:
        if self._is_locked:
            return False
        self._is_locked = True
        return True


class Gate:
    """Lets a process that has waited long write before the others.

    That process closes the gate: it writes a time into a few bytes that all processes share, and
    the others wait until that time. The time is near, so a process that dies blocks no other.
    """

    def __init__(self, database: str) -> None:
        self._closed_until: mmap.mmap | None = None
        if database.startswith(("file:", ":")):
            return  # a database in memory belongs to one process
        with suppress(OSError), open(f"{database}-turn", "a+b") as file:
            file.truncate(TIMESTAMP.size)
            self._closed_until = mmap.mmap(file.fileno(), TIMESTAMP.size)

    def pass_through(self, deadline: float) -> None:
        """Wait until the gate is open or ``time.monotonic()`` has reached ``deadline``."""
        while self._read_closed_until() > time.monotonic() and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)

    def close(self) -> None:
        if self._closed_until is not None:
            TIMESTAMP.pack_into(self._closed_until, 0, time.monotonic() + GATE_SECONDS)

    def open(self) -> None:
        if self._closed_until is not None:
            TIMESTAMP.pack_into(self._closed_until, 0, 0.0)

    def _read_closed_until(self) -> float:
        if self._closed_until is None:
            return 0.0
        closed_until: float = TIMESTAMP.unpack_from(self._closed_until)[0]
        # Ignore a value from before a restart of the machine, or one that is half written.
        return closed_until if closed_until < time.monotonic() + 2 * GATE_SECONDS else 0.0


class WriteLock:
    """The write lock of one database file: one thread of this process holds it at a time."""

    def __init__(self, database: str) -> None:
        self.threads = FairLock()
        self._gate = Gate(database)
        self._acquired_at = 0.0
        self._has_closed_gate = False

    def acquire(self, deadline: float) -> bool:
        """Wait until ``time.monotonic()`` reaches ``deadline``; whether the lock was acquired."""
        if not self.threads.acquire(deadline - time.monotonic()):
            return False
        self._gate.pass_through(deadline)
        self._acquired_at = time.monotonic()
        return True

    def wait_for_other_process(self) -> None:
        """Sleep for a moment while another process writes; after a long wait close the gate."""
        if time.monotonic() - self._acquired_at > LONG_SECONDS:
            self._has_closed_gate = True
            self._gate.close()
        time.sleep(POLL_SECONDS)

    def reopen_gate(self) -> None:
        """Let the other processes try again, if this one had closed the gate."""
        if self._has_closed_gate:
            self._has_closed_gate = False
            self._gate.open()

    def release(self) -> None:
        self.reopen_gate()
        self.threads.release()


_write_locks: dict[str, WriteLock] = {}
_creating = threading.Lock()
_held_for_fork: list[FairLock] = []


def write_lock_for(database: str) -> WriteLock:
    """The write lock of a database, by the name that Django's settings give it."""
    write_lock = _write_locks.get(database)
    if write_lock is None:
        with _creating:
            write_lock = _write_locks.setdefault(
                database, _write_locks.get(database) or WriteLock(database)
            )
    return write_lock


def _before_fork() -> None:
    """Stop all writes during a fork.

    The child gets a copy of SQLite's memory. If a thread holds a lock of SQLite then, the child has
    no thread that releases it, and could never write.
    """
    for write_lock in list(_write_locks.values()):
        if write_lock.threads.acquire(timeout=FORK_TIMEOUT_SECONDS):
            _held_for_fork.append(write_lock.threads)


def _after_fork_in_parent() -> None:
    while _held_for_fork:
        _held_for_fork.pop().release()


def _after_fork_in_child() -> None:
    global _creating
    _creating = threading.Lock()
    _write_locks.clear()
    _held_for_fork.clear()


os.register_at_fork(
    before=_before_fork,
    after_in_parent=_after_fork_in_parent,
    after_in_child=_after_fork_in_child,
)
