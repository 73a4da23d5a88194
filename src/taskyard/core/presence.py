"""What a worker leaves on its machine while it lives: a small file that it holds a lock on.

By it another process of the machine knows that the worker is dead, whatever hostnames, process
ids and namespaces say, for a clone of the machine has neither the lock nor, after its start, the
boot id. And by it `taskyard worker --check` knows whether the worker holds its lease.
"""

import fcntl
import json
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from django.conf import settings

PREFIX = "taskyard-lease-"
BOOT = Path("/proc/sys/kernel/random/boot_id")
# All in one page, and of one length, so that no reader sees half of it.
LENGTH = 1024


@dataclass(frozen=True)
class Seen:
    """A worker of this installation on this machine, as its file has it."""

    worker: int
    pid: int
    database: str
    boot: str
    renewed_at: float
    state: str = ""
    alive: bool = False

    @property
    def silent_seconds(self) -> float:
        """For how long it has not renewed its lease."""
        return now() - self.renewed_at

    @property
    def holds_a_lease(self) -> bool:
        held = bool(self.worker) and self.silent_seconds < settings.TASKYARD_LEASE_SECONDS
        return self.alive and held


class Presence:
    """This process's file. The system lets go of the lock when the process ends, however."""

    def __init__(self) -> None:
        descriptor, path = tempfile.mkstemp(prefix=PREFIX)
        self._path, self._descriptor = Path(path), descriptor
        fcntl.lockf(descriptor, fcntl.LOCK_EX)
        self._seen = Seen(0, os.getpid(), _installation(), _boot(), 0.0)

    def waits(self, state: str) -> None:
        """It has no lease, and why."""
        self._write(state=state)

    def renewed(self, worker: int) -> None:
        """It holds the lease of this id, from now on for ``TASKYARD_LEASE_SECONDS``."""
        self._write(worker=worker, renewed_at=now(), state="")

    def end(self) -> None:
        self._path.unlink(missing_ok=True)

    def _write(self, **changed: Any) -> None:
        self._seen = Seen(**{**asdict(self._seen), **changed})
        text = json.dumps({**asdict(self._seen), "state": self._seen.state[:100]})
        with suppress(OSError):  # a full disk is no reason to stop
            os.pwrite(self._descriptor, text.encode()[:LENGTH].ljust(LENGTH), 0)


def seen() -> Iterator[Seen]:
    """The workers of this installation and this user that are here, or died here."""
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError, ValueError, TypeError):
            if (found := _read(path)) is not None:
                yield found


def forget_dead() -> list[int]:
    """The ids of the workers that have died here; their files go."""
    dead = []
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError, ValueError, TypeError):
            found = _read(path)
            if found is not None and found.boot and not found.alive:
                dead.append(found.worker)
                path.unlink(missing_ok=True)
    return [worker for worker in dead if worker]


def now() -> float:
    """Seconds by a clock that nobody sets and that goes on while the machine sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def _read(path: Path) -> Seen | None:
    """None for a file of another installation, another user, or an earlier start of the machine.

    Not for this process's own: to close a file is to give up the lock on it.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
    try:
        if os.fstat(descriptor).st_uid != os.getuid():
            return None
        found = Seen(**json.loads(os.pread(descriptor, LENGTH, 0)))
        if (found.database, found.boot) != (_installation(), _boot()):
            return None
        return Seen(**{**asdict(found), "alive": _is_locked(descriptor)})
    finally:
        os.close(descriptor)


def _is_locked(descriptor: int) -> bool:
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    return False


def _installation() -> str:
    database = settings.DATABASES["default"]
    named = [str(database.get(key, "")) for key in ("ENGINE", "HOST", "PORT", "NAME")]
    return sha256("\0".join(named).encode()).hexdigest()[:16]


def _boot() -> str:
    """Which start of which machine this is; where that is unknown, nothing is known to be dead."""
    try:
        return BOOT.read_text().strip()
    except OSError:
        return ""
