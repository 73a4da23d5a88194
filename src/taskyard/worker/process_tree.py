"""Find the processes that handlers start, through ``/proc``, and kill them when the task ends.

Each process of the pool leads a session of its own and is the subreaper of its descendants
(``PR_SET_CHILD_SUBREAPER``): a descendant that loses its parent becomes its child, and so stays in
its tree. Linux only; on other systems a handler has to end the processes that it starts.
"""

import multiprocessing
import multiprocessing.process
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from multiprocessing import resource_tracker
from pathlib import Path
from typing import NamedTuple

# The main process as `multiprocessing` sees it. Celery replaces it by an object of its own.
_main = multiprocessing.current_process()


class Entry(NamedTuple):
    """One process of this machine."""

    parent: int
    session: int
    zombie: bool
    born: int
    """When it started, in the kernel's ticks. Two processes that had one id differ in this."""


def allow_children() -> None:
    """Let handlers use ``multiprocessing``, which refuses children to Celery's daemon process."""
    multiprocessing.process._current_process = _main  # type: ignore[attr-defined]
    sys.modules["__main__"].__spec__ = find_spec("taskyard.core.spawned")


def table() -> dict[int, Entry]:
    """All processes of this machine that this one can see, by their ids."""
    entries = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            entries[int(path.parent.name)] = _entry(path)
    return entries


def born(process: int) -> int:
    """When a process started, in the kernel's ticks; 0 if that is not known."""
    try:
        return _entry(Path(f"/proc/{process}/stat")).born
    except OSError:
        return 0


def is_child(process: int) -> bool:
    """Whether a process runs and is a child of this one."""
    try:
        entry = _entry(Path(f"/proc/{process}/stat"))
    except OSError:
        return False
    return entry.parent == os.getpid() and not entry.zombie


def _entry(stat: Path) -> Entry:
    """Parse the fields of proc(5) after the process's name, which may contain any character."""
    fields = stat.read_text(errors="replace").rpartition(") ")[2].split()
    return Entry(int(fields[1]), int(fields[3]), fields[0] in "ZX", int(fields[19]))


def descendants(root: int, among: dict[int, Entry]) -> list[int]:
    """The descendants of a process, parents before their children."""
    pids = [root]
    for parent in pids:
        pids += [pid for pid, entry in among.items() if entry.parent == parent]
    return pids[1:]


def end_tree(root: int) -> None:
    """Kill a process and its descendants. They are stopped first, so that none can fork."""
    stopped: list[int] = []
    while new := [pid for pid in (root, *descendants(root, table())) if pid not in stopped]:
        _send(signal.SIGSTOP, new)
        stopped += new
    _send(signal.SIGKILL, stopped)


def end_session(leader: int, *, began: int) -> None:
    """Kill all processes in the session of a pool process, and their descendants.

    ``began`` is when the leader started. Another process that has its id now is not killed.
    """
    entries = table()
    if leader in entries and entries[leader].born != began:
        return
    members = [pid for pid, entry in entries.items() if entry.session == leader]
    for pid in members:
        if not entries[pid].zombie:
            end_tree(pid)


def end_children() -> bool:
    """Kill the processes that a handler has left; whether there were any.

    The resource tracker of ``multiprocessing`` lives on, because it belongs to this process.
    """
    if not _has_children():
        return False
    kept = {os.getpid(), getattr(resource_tracker._resource_tracker, "_pid", None)}
    ended: list[int] = []
    while left := [pid for pid in descendants(os.getpid(), table()) if pid not in (*kept, *ended)]:
        _send(signal.SIGSTOP, left)
        ended += left
    _send(signal.SIGKILL, ended)
    for pid in ended:
        with suppress(ChildProcessError):
            os.waitpid(pid, 0)
    return bool(ended)


def end_orphans(known: Callable[[], set[int]]) -> None:
    """In a worker's parent: kill and reap the children that it adopted.

    ``known`` returns the processes of the pool. It is called after ``/proc`` was read, because the
    pool knows a process before that process leads a session. The first process of a container also
    adopts processes that no handler started, so it kills none.
    """
    me, session = os.getpid(), os.getsid(0)
    adopted = {
        pid: entry
        for pid, entry in table().items()
        if entry.parent == me and entry.session != session
    }
    for pid in adopted.keys() - known():
        if not adopted[pid].zombie and me != 1:
            end_tree(pid)
        with suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


def _has_children() -> bool:
    """Whether this process has children: one system call, because it runs after every task."""
    if sys.platform != "linux":
        return False
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _send(number: signal.Signals, processes: list[int]) -> None:
    for pid in processes:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)
