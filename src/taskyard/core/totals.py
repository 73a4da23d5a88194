"""How many tasks were ever created, and how many ever ended in each state. These never go down.

``deletion`` counts deleted tasks in their owner's quota, and the receiver below keeps the counts
of deleted users, so submits and ends need not count.
"""

from collections.abc import Iterator
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


@dataclass(frozen=True)
class Totals:
    created: int
    ended: dict[str, int]


def totals() -> Totals:
    """The totals of all users, also of deleted ones."""
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
    return Totals(of("active") + sum(ended.values()), ended)


@receiver(pre_delete, sender=Quota)
def keep_counts_of_deleted_user(instance: Quota, **kwargs: Any) -> None:
    """Add the counts of a user who is being deleted to those of former users."""
    with connection.cursor() as cursor:
        for name, count in _counts(instance):
            cursor.execute(_ADD, [name, count])


def _counts(quota: Quota) -> Iterator[tuple[str, int]]:
    yield "active", quota.active
    for status in sorted(TERMINAL):
        yield status, getattr(quota, status) + getattr(quota, f"deleted_{status}")
