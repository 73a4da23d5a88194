"""What each process of a worker has in hand, where its parent can see it without asking.

A process writes the task it is about to run into a small mapped file named after its process id.
The watchdog reads it to end what has run too long, and after a death: only the task that was
running is charged, not those that were claimed with it.
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

# The running task, its fence, its deadline, whether it is claimed; when the process was born.
LAYOUT = struct.Struct("=qqd?q")
# Of all processes, a place for each, because two threads of the parent write: whether they drain,
# until when they take care, and when the database last answered their parent.
DRAINING, PAUSED_UNTIL, ANSWERED_AT, FOUND_WORK_AT = range(4)
PLACE = struct.Struct("=d")
FAST_PATH_PAUSE_SECONDS = 10.0
CUT_OFF_SECONDS = 3.0
# Kept, for it is needed before every task, and to ask the kernel costs more than the rest.
_process = os.getpid()


def _note_the_process() -> None:
    global _process
    _process = os.getpid()


os.register_at_fork(after_in_child=_note_the_process)


@dataclass(frozen=True)
class Held:
    """The running task; ``deadline`` is by this machine's monotonic clock, in seconds.

    Unless it was ``claimed``, the database does not know yet that it runs.
    """

    task_id: int
    fence: int
    deadline: float
    claimed: bool

    @property
    def overdue(self) -> bool:
        return time.monotonic() > self.deadline


class ProcessTable:
    """The files of one worker, made by the parent before it forks."""

    def __init__(self) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="taskyard-worker-"))
        self._removal = weakref.finalize(self, shutil.rmtree, self._directory, ignore_errors=True)
        self._born = 0
        # Shared with the children, which inherit it: they look before every task.
        self._shared = mmap.mmap(-1, 4 * PLACE.size)
        self._mine: tuple[int, mmap.mmap] | None = None
        # Until there is a watchdog that asks.
        self._write(ANSWERED_AT, math.inf)

    def hold(
        self, task_id: int, fence: int, *, seconds: float | None, claimed: bool = True
    ) -> None:
        """This process runs a task from now on, for at most ``seconds``."""
        deadline = math.inf if seconds is None else time.monotonic() + seconds
        file = self._file()
        LAYOUT.pack_into(file, 0, task_id, fence, deadline, claimed, self._born)

    def release(self) -> None:
        """This process runs nothing."""
        file = self._file()
        LAYOUT.pack_into(file, 0, 0, 0, math.inf, True, self._born)

    def read(self, process: int) -> Held | None:
        """What a process runs, or ran when it died; None for nothing."""
        try:
            held = Held(*LAYOUT.unpack(self._path(process).read_bytes())[:4])
        except (OSError, struct.error):
            return None
        return held if held.task_id else None

    def born(self, process: int) -> int:
        """When a process started, in the kernel's ticks, to tell it from another of its id."""
        try:
            return int(LAYOUT.unpack(self._path(process).read_bytes())[4])
        except (OSError, struct.error):
            return 0

    def dead(self, processes: set[int]) -> set[int]:
        """The processes that had a slot and are not among these."""
        known = {int(path.name) for path in self._directory.iterdir()}
        return known - processes

    def forget(self, processes: set[int]) -> None:
        """Remove the slots of processes that are gone."""
        for process in processes:
            self._path(process).unlink(missing_ok=True)

    def leave_to_the_reaper(self) -> None:
        """The files stay when the parent is gone: the reaper looks for its children in them."""
        self._removal.detach()

    def remove(self) -> None:
        """Remove the files."""
        shutil.rmtree(self._directory, ignore_errors=True)

    def drain(self) -> None:
        """Ask the processes to begin nothing more."""
        self._write(DRAINING, 1)

    @property
    def draining(self) -> bool:
        return bool(self._read(DRAINING))

    def pause_fast_path(self) -> None:
        """For a while the processes run nothing without a claim: one of them died so."""
        self._write(PAUSED_UNTIL, time.monotonic() + FAST_PATH_PAUSE_SECONDS)

    @property
    def fast_path_paused(self) -> bool:
        return time.monotonic() < self._read(PAUSED_UNTIL)

    def note_answer(self) -> None:
        """The database has answered the parent."""
        self._write(ANSWERED_AT, time.monotonic())

    @property
    def cut_off(self) -> bool:
        """The parent, if it runs at all, has had no answer from the database for a while."""
        return time.monotonic() - self._read(ANSWERED_AT) > CUT_OFF_SECONDS

    def note_work(self) -> None:
        """The parent has found tasks that wait; a process that waits for a call looks too."""
        self._write(FOUND_WORK_AT, time.monotonic())

    @property
    def found_work_at(self) -> float:
        """When the parent last found tasks that wait, by the monotonic clock."""
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
