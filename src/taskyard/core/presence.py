"""The presence file of a worker: a small file on its machine that the living worker locks.

If the file is not locked, the worker is dead. Hostnames, process ids and namespaces do not prove
this. A clone of the machine has another boot id, so it takes no file of the original for its own.
`taskyard worker --check` reads the file to see whether the worker holds its lease.
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

from taskyard.core.conf import conf

PREFIX = "taskyard-lease-"
BOOT = Path("/proc/sys/kernel/random/boot_id")
# Less than a page, and always the same length, so that no reader sees a half-written file.
LENGTH = 1024


@dataclass(frozen=True)
class Seen:
    """The contents of a presence file of this installation on this machine."""

    worker: int
    pid: int
    database: str
    boot: str
    renewed_at: float
    state: str = ""
    alive: bool = False

    @property
    def silent_seconds(self) -> float:
        """The time since the worker last renewed its lease."""
        return now() - self.renewed_at

    @property
    def holds_a_lease(self) -> bool:
        held = bool(self.worker) and self.silent_seconds < conf().LEASE_SECONDS
        return self.alive and held


class Presence:
    """The presence file of this process. The system unlocks it when the process ends in any way."""

    def __init__(self) -> None:
        descriptor, path = tempfile.mkstemp(prefix=PREFIX)
        self._path, self._descriptor = Path(path), descriptor
        fcntl.lockf(descriptor, fcntl.LOCK_EX)
        self._seen = Seen(0, os.getpid(), _installation(), _boot(), 0.0)

    def waits(self, state: str) -> None:
        """Note that the worker has no lease yet; ``state`` is the reason."""
        self._write(state=state)

    def renewed(self, worker: int) -> None:
        """Note that the worker has now renewed the lease with the id ``worker``."""
        self._write(worker=worker, renewed_at=now(), state="")

    def end(self) -> None:
        """Remove the file."""
        self._path.unlink(missing_ok=True)

    def _write(self, **changed: Any) -> None:
        self._seen = Seen(**{**asdict(self._seen), **changed})
        text = json.dumps({**asdict(self._seen), "state": self._seen.state[:100]})
        with suppress(OSError):  # a full disk must not stop the worker
            os.pwrite(self._descriptor, text.encode()[:LENGTH].ljust(LENGTH), 0)


def seen() -> Iterator[Seen]:
    """The presence files of this installation and this user: of living and of dead workers."""
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError, ValueError, TypeError):
            if (found := _read(path)) is not None:
                yield found


def forget_dead() -> list[int]:
    """Remove the files of dead workers; the ids of these workers."""
    dead = []
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError, ValueError, TypeError):
            found = _read(path)
            if found is not None and found.boot and not found.alive:
                dead.append(found.worker)
                path.unlink(missing_ok=True)
    return [worker for worker in dead if worker]


def now() -> float:
    """Seconds by a clock that cannot be set and that runs while the machine sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def _read(path: Path) -> Seen | None:
    """Read a file; None if it is of another installation, another user or an earlier boot.

    A process must not read its own file so, because to close a file releases the locks on it.
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
    """The id of this boot of the machine. Empty if unknown; then no worker counts as dead."""
    try:
        return BOOT.read_text().strip()
    except OSError:
        return ""
