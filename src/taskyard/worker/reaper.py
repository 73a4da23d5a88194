"""The reaper: a process that ends what a worker's parent leaves behind, however that ends.

The kernel tells a child that its parent has died, but not its grandchildren: what a handler
started would run on. The reaper waits for the end of a pipe of which only the parent has the other
end, and then ends each process of the pool with all that descends from it. It leads a session of
its own and ignores what can be ignored.
"""

import os
import select
import signal
from typing import NoReturn

from taskyard.worker.process_table import ProcessTable
from taskyard.worker.process_tree import end_session

_lifeline = -1


def start(process_table: ProcessTable) -> None:
    """Start the reaper of this process and of the children that have a slot."""
    global _lifeline
    process_table.leave_to_the_reaper()
    reader, writer = os.pipe()
    middle = os.fork()
    if middle == 0:
        # Nobody's child: no part of the pool, and not to be waited for.
        os.setsid()
        if os.fork() == 0:
            _wait(reader, process_table)
        os._exit(0)
    os.waitpid(middle, 0)
    os.close(reader)
    _lifeline = writer


def ensure(process_table: ProcessTable) -> None:
    """Start another reaper where the first has died."""
    if _lifeline < 0:
        return
    poll = select.poll()
    poll.register(_lifeline, 0)  # an error is told of in any case: nobody reads any more
    if poll.poll(0):
        os.close(_lifeline)
        start(process_table)


def _let_go() -> None:
    """In a new process: only the parent's end counts."""
    global _lifeline
    if _lifeline >= 0:
        os.close(_lifeline)
        _lifeline = -1


os.register_at_fork(after_in_child=_let_go)


def _wait(reader: int, process_table: ProcessTable) -> NoReturn:
    try:
        for which in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
            signal.signal(which, signal.SIG_IGN)
        os.chdir("/")
        nowhere = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(nowhere, descriptor)
        os.closerange(3, reader)
        os.closerange(reader + 1, os.sysconf("SC_OPEN_MAX"))
        os.read(reader, 1)
        for process in process_table.dead(set()):
            end_session(process, began=process_table.born(process))
        process_table.remove()
    finally:
        os._exit(0)
