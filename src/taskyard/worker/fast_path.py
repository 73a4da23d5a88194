"""Which task types are so quick that to claim a task costs more than to run it.

Each process measures this itself and starts without any. So after a process was killed by a task,
its successor claims this task before it runs it.
"""

from collections.abc import Sequence

from taskyard.catalog.task_type import TaskType, registry
from taskyard.core import fair_queue

QUICK_SECONDS = 0.005
# How long the tasks of one transaction may run in total; other processes wait for its locks.
TRANSACTION_BUDGET_SECONDS = 0.025
# If a task runs longer without a claim, the watchdog kills its process; then it is claimed first.
UNCLAIMED_LIMIT_SECONDS = 1.0


class FastTypes:
    def __init__(self) -> None:
        self._quick: set[str] = set()
        self._excluded: set[str] = set()

    def record(self, task_type: str, seconds: float) -> None:
        """Record how long one task of this type took."""
        if seconds > QUICK_SECONDS:
            self._quick.discard(task_type)
        elif task_type in self._quick or task_type in self._excluded:
            return
        elif may_be_quick(registry.get(task_type)):
            self._quick.add(task_type)
        fair_queue.expect(task_type, seconds)

    def exclude(self, task_type: str) -> None:
        """Always claim tasks of this type, because its handler uses the database."""
        self._excluded.add(task_type)
        self._quick.discard(task_type)

    def evict(self, task_types: Sequence[str]) -> None:
        """Claim tasks of these types until a task of the type was quick again."""
        self._quick.difference_update(task_types)

    def batch_sizes(self) -> dict[str, int] | None:
        """How many tasks of each type may run in one transaction; None if no type is quick."""
        if not self._quick:
            return None
        return {
            task_type.name: task_type.batch if task_type.name in self._quick else 0
            for task_type in registry.all()
        }


def may_be_quick(task_type: TaskType) -> bool:
    waits = task_type.takes_context or task_type.is_async or task_type.takes_files
    return task_type.batch > 1 and not waits
