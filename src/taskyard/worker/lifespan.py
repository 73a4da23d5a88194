"""Limits of a pool process: after so many tasks, or above so much memory, Celery replaces it.

To Celery a process that listens runs one Celery task without end, so Celery never checks its own
limits. We check ours between tasks of Taskyard. The pool compares its count of finished tasks with
a number; ``Replacement`` stands in for this number and makes the pool replace the process.
"""

import os
import resource
import sys
from pathlib import Path

from billiard.process import current_process

# The part of the machine's or container's memory that all processes together may use.
SHARE_OF_MEMORY = 0.75
KIB = 1024


class Lifespan:
    """The limits of this process; None is no limit."""

    def __init__(self, *, tasks: int | None = None, memory_kib: int | None = None) -> None:
        self._tasks_left = tasks
        self._memory_kib = memory_kib
        self._is_over = False

    def note(self, tasks: int) -> None:
        """Count tasks that have ended in this process, and check its memory."""
        if self._tasks_left is not None:
            self._tasks_left -= tasks
            self._is_over |= self._tasks_left <= 0
        if self._memory_kib is not None:
            self._is_over |= memory_kib() > self._memory_kib

    def end(self) -> None:
        """Have the process replaced, because a task left something that could harm the next."""
        self._is_over = True

    @property
    def is_over(self) -> bool:
        """Whether the process has to be replaced before it runs another task."""
        return self._is_over

    def fit(self, batch_sizes: dict[str, int]) -> dict[str, int]:
        """Reduce batch sizes to the number of tasks that this process may still run."""
        if self._tasks_left is None:
            return batch_sizes
        return {name: min(size, max(1, self._tasks_left)) for name, size in batch_sizes.items()}


class Replacement(int):
    """The number with which Celery's pool compares its finished tasks; the lifespan decides."""

    lifespan: Lifespan

    def __gt__(self, finished: int) -> bool:
        return not self.lifespan.is_over

    def __eq__(self, finished: object) -> bool:
        return self.lifespan.is_over

    def __ne__(self, finished: object) -> bool:
        return not self == finished

    def __bool__(self) -> bool:
        return True

    __hash__ = int.__hash__


lifespan = Lifespan()
# A file descriptor that stays open, because to open the file costs more than to read it.
_statm: int | None = None


def begin(*, tasks: int | None, memory_kib: int | None) -> None:
    """Set the limits of a new pool process. Celery's own flags override them."""
    global lifespan, _statm
    if sys.platform == "linux":
        _statm = os.open("/proc/self/statm", os.O_RDONLY)
    worker = current_process()._target  # type: ignore[attr-defined]
    lifespan = Lifespan(
        tasks=worker.maxtasks or tasks, memory_kib=worker.max_memory_per_child or memory_kib
    )
    worker.maxtasks, worker.max_memory_per_child = Replacement(1), None
    worker.maxtasks.lifespan = lifespan


def memory_kib() -> int:
    """The resident memory of this process; except on Linux, its maximum so far."""
    global _statm
    if sys.platform == "linux" and _statm is None:
        _statm = os.open("/proc/self/statm", os.O_RDONLY)
    if _statm is not None:
        return int(os.pread(_statm, 100, 0).split()[1]) * resource.getpagesize() // KIB
    maximum = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return maximum // KIB if sys.platform == "darwin" else maximum


def fair_share_kib(processes: int) -> int:
    """The memory that each of ``processes`` may use of the machine's or container's."""
    limits = [os.sysconf("SC_PHYS_PAGES") * resource.getpagesize()]
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            limits.append(int(Path(path).read_text()))
        except (OSError, ValueError):  # there is no such file, or it says "max"
            continue
    return int(min(limits) * SHARE_OF_MEMORY / processes) // KIB
