"""Which task each process of a worker runs, in files that its parent can read.

Before a process runs a task, it writes the task into a small mapped file that is named after its
process id. The watchdog reads the file to kill overdue processes. It also reads it after a process
has died, because only the running task loses an attempt, not the tasks that were claimed with it.
"""

import math
import mmap
import os
import shutil
import struct
import tempfile
import time
import weakref
from dataclasses import dataclass
from pathlib import Path

from taskyard.worker import process_tree

# The running task, its fence, its deadline, whether it is claimed; when the process started.
LAYOUT = struct.Struct("=qqd?q")
# Shared by all processes: whether they drain, until when the fast path is paused, when the database
# last answered the parent, and when the parent last found work. Two threads of the parent write, so
# each value has a place of its own.
DRAINING, PAUSED_UNTIL, ANSWERED_AT, FOUND_WORK_AT = range(4)
PLACE = struct.Struct("=d")
FAST_PATH_PAUSE_SECONDS = 10.0
# Of the name of the directory.
PREFIX = "taskyard-worker-"
CUT_OFF_SECONDS = 3.0
# Cached, because it is needed before every task and a system call costs more than the rest.
_process = os.getpid()


def _update_process() -> None:
    global _process
    _process = os.getpid()


os.register_at_fork(after_in_child=_update_process)


@dataclass(frozen=True)
class Held:
    """The running task; ``deadline`` is by this machine's monotonic clock, in seconds.

    If it is not ``claimed``, the database does not know yet that it runs.
    """

    task_id: int
    fence: int
    deadline: float
    claimed: bool

    @property
    def overdue(self) -> bool:
        return time.monotonic() > self.deadline


class ProcessTable:
    """The files of one worker. The parent makes the table before it forks."""

    def __init__(self) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix=PREFIX))
        self._removal = weakref.finalize(self, shutil.rmtree, self._directory, ignore_errors=True)
        self._born = 0
        # The children inherit this memory, and read it before every task.
        self._shared = mmap.mmap(-1, 4 * PLACE.size)
        self._mine: tuple[int, mmap.mmap] | None = None
        # Until the watchdog starts, no process is cut off.
        self._write(ANSWERED_AT, math.inf)

    @property
    def folder(self) -> Path:
        """The folder of the files, which the reaper removes when the parent has died."""
        return self._directory

    def hold(
        self, task_id: int, fence: int, *, seconds: float | None, claimed: bool = True
    ) -> None:
        """Note that this process now runs a task, for at most ``seconds``."""
        deadline = math.inf if seconds is None else time.monotonic() + seconds
        file = self._file()
        LAYOUT.pack_into(file, 0, task_id, fence, deadline, claimed, self._born)

    def release(self) -> None:
        """Note that this process runs no task."""
        file = self._file()
        LAYOUT.pack_into(file, 0, 0, 0, math.inf, True, self._born)

    def read(self, process: int) -> Held | None:
        """The task that a process runs, or ran when it died, if any."""
        try:
            held = Held(*LAYOUT.unpack(self._path(process).read_bytes())[:4])
        except (OSError, struct.error):
            return None
        return held if held.task_id else None

    def born(self, process: int) -> int:
        """When a process started, in the kernel's ticks. A later process with its id differs."""
        try:
            return int(LAYOUT.unpack(self._path(process).read_bytes())[4])
        except (OSError, struct.error):
            return 0

    def dead(self, processes: set[int]) -> set[int]:
        """The processes that have a file and are not among ``processes``."""
        names = (path.name for path in self._directory.iterdir())
        return {int(name) for name in names if name.isdecimal()} - processes

    def forget(self, processes: set[int]) -> None:
        """Remove the files of processes that are gone."""
        for process in processes:
            self._path(process).unlink(missing_ok=True)

    def leave_to_the_reaper(self) -> None:
        """Keep the files when the parent ends, because the reaper finds its children in them."""
        self._removal.detach()

    def remove(self) -> None:
        """Remove the files."""
        shutil.rmtree(self._directory, ignore_errors=True)

    def drain(self) -> None:
        """Tell the processes to begin no more tasks."""
        self._write(DRAINING, 1)

    @property
    def draining(self) -> bool:
        return bool(self._read(DRAINING))

    def pause_fast_path(self) -> None:
        """Have all tasks claimed for a while, because an unclaimed task ended its process."""
        self._write(PAUSED_UNTIL, time.monotonic() + FAST_PATH_PAUSE_SECONDS)

    @property
    def fast_path_paused(self) -> bool:
        return time.monotonic() < self._read(PAUSED_UNTIL)

    def note_answer(self) -> None:
        """Note that the database has answered the parent."""
        self._write(ANSWERED_AT, time.monotonic())

    @property
    def cut_off(self) -> bool:
        """Whether the database has not answered the parent for ``CUT_OFF_SECONDS``."""
        return time.monotonic() - self._read(ANSWERED_AT) > CUT_OFF_SECONDS

    def note_work(self) -> None:
        """Note that the parent has found ready tasks, so that a listening process polls."""
        self._write(FOUND_WORK_AT, time.monotonic())

    @property
    def found_work_at(self) -> float:
        """When the parent last found ready tasks, by the monotonic clock."""
        return self._read(FOUND_WORK_AT)

    def _read(self, place: int) -> float:
        return float(PLACE.unpack_from(self._shared, place * PLACE.size)[0])

    def _write(self, place: int, value: float) -> None:
        PLACE.pack_into(self._shared, place * PLACE.size, value)

    def _path(self, process: int) -> Path:
        return self._directory / str(process)

    def _file(self) -> mmap.mmap:
        if self._mine is None or self._mine[0] != _process:
            self._born = process_tree.born(_process)
            with self._path(_process).open("w+b") as file:
                file.truncate(LAYOUT.size)
                self._mine = _process, mmap.mmap(file.fileno(), LAYOUT.size)
        return self._mine[1]
