"""The reaper: a process that kills the processes that remain when a worker's parent has died.

The kernel signals the death of a parent to its children, but not to its grandchildren, so processes
that a handler started would run on. The reaper waits until a pipe is closed of which only the
parent has the other end. Then it kills each process of the pool with all its descendants. It has a
session of its own and ignores the signals that a process can ignore.
"""

import os
import select
import signal
from typing import NoReturn

from taskyard.worker.process_table import ProcessTable
from taskyard.worker.process_tree import end_session

_lifeline = -1


def start(process_table: ProcessTable) -> None:
    """Start the reaper of this process and of the children that are in the process table."""
    global _lifeline
    process_table.leave_to_the_reaper()
    reader, writer = os.pipe()
    middle = os.fork()
    if middle == 0:
        # Fork twice, so that the reaper is no child of the parent, which would have to reap it.
        os.setsid()
        if os.fork() == 0:
            _wait(reader, process_table)
        os._exit(0)
    os.waitpid(middle, 0)
    os.close(reader)
    _lifeline = writer


def ensure(process_table: ProcessTable) -> None:
    """Start another reaper if the first has died."""
    if _lifeline < 0:
        return
    poll = select.poll()
    poll.register(_lifeline, 0)  # reports errors only, such as a pipe that has no reader
    if poll.poll(0):
        os.close(_lifeline)
        start(process_table)


def _close_lifeline() -> None:
    """In a child: close its copy of the pipe, so that only the parent holds the pipe open."""
    global _lifeline
    if _lifeline >= 0:
        os.close(_lifeline)
        _lifeline = -1


os.register_at_fork(after_in_child=_close_lifeline)


def _wait(reader: int, process_table: ProcessTable) -> NoReturn:
    try:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
            signal.signal(number, signal.SIG_IGN)
        os.chdir("/")
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
        os.closerange(3, reader)
        os.closerange(reader + 1, os.sysconf("SC_OPEN_MAX"))
        os.read(reader, 1)
        for process in process_table.dead(set()):
            end_session(process, began=process_table.born(process))
        process_table.remove()
    finally:
        os._exit(0)
