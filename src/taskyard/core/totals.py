"""How many tasks were ever created, and how many ever ended in each state. These never go down.

``deletion`` counts deleted tasks in their owner's quota, and the receiver below keeps the counts
of deleted users, so submits and ends need not count. System tasks have no quota: ``durations``
counts how they ended.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from django.db import connection
from django.db.models import F, Sum
from django.db.models.signals import pre_delete
from django.dispatch import receiver

from taskyard.core.models import FormerTotal, Quota
from taskyard.core.states import TERMINAL

_ADD = """
INSERT INTO taskyard_formertotal (name, count) VALUES (%s, %s)
ON CONFLICT (name) DO UPDATE SET count = taskyard_formertotal.count + excluded.count
"""


SYSTEM = "system_{}"


@dataclass(frozen=True)
class Totals:
    """The counts of the tasks of users; ``system_ended`` has those of system tasks."""

    created: int
    ended: dict[str, int]
    system_ended: dict[str, int]


def totals() -> Totals:
    """The totals of all users, also of deleted ones; and of system tasks, as they were counted."""
    sums: dict[str, Any] = {
        status.value: Sum(F(status) + F(f"deleted_{status}")) for status in sorted(TERMINAL)
    }
    # In one statement, so that a task that ends at the same time is counted once.
    found: dict[str, int | None] = Quota.objects.aggregate(
        **{f"sum_{name}": count for name, count in sums.items()}, sum_active=Sum("active")
    )
    former = dict(FormerTotal.objects.values_list("name", "count"))

    def of(name: str) -> int:
        return (found[f"sum_{name}"] or 0) + former.get(name, 0)

    ended = {name: of(name) for name in sums}
    system_ended = {name: former.get(SYSTEM.format(name), 0) for name in sums}
    return Totals(of("active") + sum(ended.values()), ended, system_ended)


def count_system_tasks(ended: Iterable[tuple[str, int]]) -> None:
    """Count system tasks that have ended: statuses, and how many."""
    counts: Counter[str] = Counter()
    for status, count in ended:
        counts[status] += count
    _add((SYSTEM.format(status), count) for status, count in sorted(counts.items()))


@receiver(pre_delete, sender=Quota)
def keep_counts_of_deleted_user(instance: Quota, **kwargs: Any) -> None:
    """Add the counts of a user who is being deleted to those of former users."""
    _add(_counts(instance))


def _add(counts: Iterable[tuple[str, int]]) -> None:
    with connection.cursor() as cursor:
        cursor.executemany(_ADD, list(counts))


def _counts(quota: Quota) -> Iterator[tuple[str, int]]:
    yield "active", quota.active
    for status in sorted(TERMINAL):
        yield status, getattr(quota, status) + getattr(quota, f"deleted_{status}")
