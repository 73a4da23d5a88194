"""How long a process of the pool lives: so many tasks, so much memory, then Celery forks another.

For Celery a process that listens is busy with one task without an end, so its own limits would
never be asked. Ours are asked between tasks of Taskyard, and Celery's pool is told when to replace
the process by the number that it compares with: it ends and is forked as Celery's flags say.
"""

import os
import resource
import sys
from pathlib import Path

from billiard.process import current_process

# Of the machine's memory, or the container's, all processes together may take so much.
SHARE_OF_MEMORY = 0.75
KIB = 1024


class Lifespan:
    """Of this process; what is None is not limited."""

    def __init__(self, *, tasks: int | None = None, memory_kib: int | None = None) -> None:
        self._tasks_left = tasks
        self._memory_kib = memory_kib
        self._is_over = False

    def note(self, tasks: int) -> None:
        """So many tasks have ended here."""
        if self._tasks_left is not None:
            self._tasks_left -= tasks
            self._is_over |= self._tasks_left <= 0
        if self._memory_kib is not None:
            self._is_over |= memory_kib() > self._memory_kib

    def end(self) -> None:
        """A task has left behind what the next must not meet."""
        self._is_over = True

    @property
    def is_over(self) -> bool:
        """Whether the process has to be replaced before it runs another task."""
        return self._is_over

    def fit(self, batch_sizes: dict[str, int]) -> dict[str, int]:
        """How many of each type may be taken together by a process that still runs so many."""
        if self._tasks_left is None:
            return batch_sizes
        return {name: min(cap, max(1, self._tasks_left)) for name, cap in batch_sizes.items()}


class Replacement(int):
    """What Celery's pool compares a process's finished tasks with: the lifespan decides."""

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
# Open from the start of the process: to open it costs more than to read it.
_statm: int | None = None


def begin(*, tasks: int | None, memory_kib: int | None) -> None:
    """In a new process of the pool: its limits, unless Celery's own flags give others."""
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
    """What this process has in memory; elsewhere than on Linux, what it once had."""
    global _statm
    if sys.platform == "linux" and _statm is None:
        _statm = os.open("/proc/self/statm", os.O_RDONLY)
    if _statm is not None:
        return int(os.pread(_statm, 100, 0).split()[1]) * resource.getpagesize() // KIB
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most // KIB if sys.platform == "darwin" else most


def fair_share_kib(processes: int) -> int:
    """What each of so many processes may take of the machine's memory, or the container's."""
    limits = [os.sysconf("SC_PHYS_PAGES") * resource.getpagesize()]
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            limits.append(int(Path(path).read_text()))
        except (OSError, ValueError):  # there is none, or it is "max"
            continue
    return int(min(limits) * SHARE_OF_MEMORY / processes) // KIB
