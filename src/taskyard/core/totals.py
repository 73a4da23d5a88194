"""How many tasks were ever created, and how many ever ended how. These never go down.

Deleting a task counts it as deleted in its owner's account, and deleting a user adds the account
to what former users had, so nothing is counted where tasks are submitted and end.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.db import connection
from django.db.models import F, Sum
from django.db.models.signals import pre_delete
from django.dispatch import receiver

from taskyard.core.models import Account, FormerTotal
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
    """What there was until now, of users that there are and of those that were deleted."""
    sums: dict[str, Any] = {
        status.value: Sum(F(status) + F(f"deleted_{status}")) for status in sorted(TERMINAL)
    }
    # In one statement, so that a task that ends meanwhile is counted once.
    found: dict[str, int | None] = Account.objects.aggregate(
        **{f"sum_{name}": each for name, each in sums.items()}, sum_active=Sum("active")
    )
    former = dict(FormerTotal.objects.values_list("name", "count"))

    def of(name: str) -> int:
        return (found[f"sum_{name}"] or 0) + former.get(name, 0)

    ended = {name: of(name) for name in sums}
    return Totals(of("active") + sum(ended.values()), ended)


@receiver(pre_delete, sender=Account)
def keep_what_a_user_had(instance: Account, **kwargs: Any) -> None:
    with connection.cursor() as cursor:
        for name, count in _had(instance):
            cursor.execute(_ADD, [name, count])


def _had(account: Account) -> Iterator[tuple[str, int]]:
    yield "active", account.active
    for status in sorted(TERMINAL):
        yield status, getattr(account, status) + getattr(account, f"deleted_{status}")
