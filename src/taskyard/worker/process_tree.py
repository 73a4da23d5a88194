"""The processes that handlers start: found through ``/proc``, and ended with their task.

Each process of the pool leads a session of its own and adopts what descends from it and loses its
parent (``PR_SET_CHILD_SUBREAPER``), so nobody leaves its tree. Linux only; elsewhere the processes
of a session are not known, and a handler has to end what it starts.
"""

import ctypes
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

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
# As `multiprocessing` knows any program; Celery puts a process of its own in its place.
_main = multiprocessing.current_process()
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


class Entry(NamedTuple):
    """One process of this machine."""

    parent: int
    session: int
    zombie: bool
    born: int
    """When it started, in the kernel's ticks: two processes of one id differ in it."""


def adopt_orphans() -> None:
    """From now on what descends from this process and loses its parent becomes its child."""
    if _libc is not None:
        _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def outlive_the_parent() -> None:
    """Undo what Celery asked of the kernel: the reaper ends this process, after its children."""
    if _libc is not None:
        _libc.prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0)


def allow_children() -> None:
    """Let handlers use ``multiprocessing``, which sees Celery's process as a daemon's."""
    multiprocessing.process._current_process = _main  # type: ignore[attr-defined]
    sys.modules["__main__"].__spec__ = find_spec("taskyard.core.spawned")


def table() -> dict[int, Entry]:
    """All processes of this machine that can be seen, by their ids."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            found[int(path.parent.name)] = _entry(path)
    return found


def born(process: int) -> int:
    """When a process started, in the kernel's ticks; 0 where that is not known."""
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
    """Field by field as proc(5) has them, after the name, which may hold anything."""
    fields = stat.read_text(errors="replace").rpartition(") ")[2].split()
    return Entry(int(fields[1]), int(fields[3]), fields[0] in "ZX", int(fields[19]))


def descendants(root: int, among: dict[int, Entry]) -> list[int]:
    """What descends from a process, parents before their children."""
    found = [root]
    for parent in found:
        found += [pid for pid, entry in among.items() if entry.parent == parent]
    return found[1:]


def end_tree(root: int) -> None:
    """Kill a process and all that descends from it; stopped first, so that nobody forks on."""
    stopped: list[int] = []
    while new := [pid for pid in (root, *descendants(root, table())) if pid not in stopped]:
        _send(signal.SIGSTOP, new)
        stopped += new
    _send(signal.SIGKILL, stopped)


def end_session(leader: int, *, began: int) -> None:
    """Kill what is left of a process of the pool, which led a session, and what descends from it.

    ``began`` says when it was born: another program that has got its id meanwhile is not harmed.
    """
    found = table()
    if leader in found and found[leader].born != began:
        return
    members = [pid for pid, entry in found.items() if entry.session == leader]
    for pid in members:
        if not found[pid].zombie:
            end_tree(pid)


def end_children() -> bool:
    """Kill what a handler has left behind; whether that was anything.

    The resource tracker of ``multiprocessing`` is kept: it belongs to this process.
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
    """Of a worker's parent: kill and bury the children that are not its own, but adopted.

    ``known`` is asked after the look around, for its own processes are known before they lead a
    session. The first process of a container also adopts what is no handler's; that is let live.
    """
    me, session = os.getpid(), os.getsid(0)
    found = {p: e for p, e in table().items() if e.parent == me and e.session != session}
    for pid in found.keys() - known():
        if not found[pid].zombie and me != 1:
            end_tree(pid)
        with suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


def _has_children() -> bool:
    """One system call, for it is asked after every task."""
    if _libc is None:
        return False
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _send(what: signal.Signals, processes: list[int]) -> None:
    for pid in processes:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, what)
