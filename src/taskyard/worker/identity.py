"""Which worker this process belongs to: set in the parent, inherited by its children."""

from functools import cache

from taskyard.core.presence import Presence
from taskyard.worker.process_state import ProcessState
from taskyard.worker.process_table import ProcessTable

# 0 is no worker: a claim without a lease gets no tasks.
worker_id: int = 0
parent_pid: int = 0
processes: int = 1
# Whether a handler forked this process.
is_fork: bool = False
# The workers that died on this machine before.
dead: list[int] = []


@cache
def process_table() -> ProcessTable:
    return ProcessTable()


@cache
def presence() -> Presence:
    return Presence()


@cache
def state() -> ProcessState:
    """The state of this process before its first task."""
    return ProcessState()
