"""Which task types are so quick that claiming them costs more than running them.

A process finds out by itself, and begins anew when it is replaced: what killed its predecessor is
met with care, one claimed attempt at a time.
"""

from collections.abc import Sequence

from taskyard.catalog.task_type import TaskType, registry

QUICK_SECONDS = 0.005
# How long the tasks of one transaction may run together; others wait for its locks.
TRANSACTION_BUDGET_SECONDS = 0.025
# A task that takes so long after all has its process ended, and is begun again with care.
UNCLAIMED_LIMIT_SECONDS = 1.0


class FastTypes:
    def __init__(self) -> None:
        self._quick: set[str] = set()
        self._excluded: set[str] = set()

    def note(self, task_type: str, seconds: float) -> None:
        """One task of this type took so long."""
        if seconds > QUICK_SECONDS:
            self._quick.discard(task_type)
        elif task_type in self._quick or task_type in self._excluded:
            return
        elif may_be_quick(registry.get(task_type)):
            self._quick.add(task_type)

    def exclude(self, task_type: str) -> None:
        """This one uses the database itself: its tasks are always claimed."""
        self._excluded.add(task_type)
        self._quick.discard(task_type)

    def evict(self, task_types: Sequence[str]) -> None:
        """These are to be claimed until they have shown again that they are quick."""
        self._quick.difference_update(task_types)

    def batch_sizes(self) -> dict[str, int] | None:
        """How many of each type may be run in one transaction; None where none may."""
        if not self._quick:
            return None
        return {known.name: known.batch * (known.name in self._quick) for known in registry.all()}


def may_be_quick(task_type: TaskType) -> bool:
    return task_type.batch > 1 and not task_type.takes_context and not task_type.is_async
