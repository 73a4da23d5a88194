"""Which worker this process belongs to: set in the parent, inherited by its children."""

from functools import cache

from taskyard.worker.slots import Slots

worker_id: int = 0
parent_pid: int = 0
processes: int = 1


@cache
def slots() -> Slots:
    return Slots()
