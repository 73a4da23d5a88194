"""Linux's prctl(2): what happens to a process when its parent ends. Nothing on other systems."""

import ctypes
import sys

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
# Loaded before any fork, because a new child may only make the system call.
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


def set_death_signal(number: int) -> None:
    """Let the kernel send this process the signal when its parent ends; 0: none.

    A later change of the user would undo it.
    """
    if _libc is not None:
        _libc.prctl(PR_SET_PDEATHSIG, number, 0, 0, 0)


def adopt_orphans() -> None:
    """Make this process the parent of its descendants that lose theirs."""
    if _libc is not None:
        _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
