"""Change tasks of many owners, and leave the owners whose quota is locked for a later call.

A quota is locked while a submit or an end is written, which is short, or by a longer
transaction. System tasks have no quota. Locks are taken in the same order as everywhere: tasks,
then accounts.
"""

import logging
import random
from collections.abc import Callable, Iterable
from typing import NamedTuple

from django.db import OperationalError, transaction

from taskyard.core.database_errors import Outage, outage_of
from taskyard.core.engine import engine
from taskyard.core.models import Quota
from taskyard.core.querysets import TaskQuerySet
from taskyard.core.types import UserId

WAIT_SECONDS = 0.1
logger = logging.getLogger(__name__)

Lock = Callable[[Iterable[UserId | None]], set[UserId]]


class Looked(NamedTuple):
    """How many tasks were looked at, and the owners whose tasks were left."""

    tasks: int
    busy: set[UserId]


def sparing_the_busy(
    tasks: TaskQuerySet, change: Callable[[TaskQuerySet, Lock], Looked], *, at_most: int
) -> None:
    """Let ``change`` change these tasks, except those of owners whose quota is locked.

    Each call of ``change`` is one transaction. It locks the next ``at_most`` tasks, calls ``Lock``
    for the quotas that it needs, and leaves the tasks of the owners that this returns. It is
    called again without these owners if more tasks may follow. At the end it waits a moment for
    one of these owners, because the quota of an owner who submits all the time is always locked.
    """
    busy: set[UserId] = set()
    while True:
        looked = change(tasks.exclude(owner_id__in=busy), _lock_the_free)
        busy |= looked.busy
        if not looked.busy or looked.tasks < at_most:
            break
    if busy:
        owner_id = random.choice(sorted(busy))  # noqa: S311
        if change(tasks.filter(owner_id=owner_id), _lock_in_a_moment).busy:
            logger.warning("quotas locked", extra={"owners": len(busy)})


def _lock_the_free(owner_ids: Iterable[UserId | None]) -> set[UserId]:
    """Lock the quotas of these owners; the owners whose quota is locked already."""
    engine().wait_for_locks(WAIT_SECONDS)  # of other rows
    quotas = Quota.objects.filter(user_id__in=set(owner_ids)).order_by("user_id")
    owners = quotas.values_list("user_id", flat=True)
    free = set(owners.select_for_update(skip_locked=True))
    return set(owners) - free


def _lock_in_a_moment(owner_ids: Iterable[UserId | None]) -> set[UserId]:
    """Lock the quotas of all these owners or of none; wait ``WAIT_SECONDS`` for each."""
    quotas = Quota.objects.filter(user_id__in=set(owner_ids)).order_by("user_id")
    try:
        with transaction.atomic():
            engine().wait_for_locks(WAIT_SECONDS)
            list(quotas.select_for_update())
    except OperationalError as error:
        if outage_of(error) is not Outage.BUSY:
            raise
        return set(quotas.values_list("user_id", flat=True))
    return set()
