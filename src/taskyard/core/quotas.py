"""How many active tasks a user may have: read the quota, and change it for one user."""

from django.db import transaction

from taskyard.core import audit, lifecycle
from taskyard.core.models import Quota, Task
from taskyard.core.types import Limits, UserId

HOLDERS_NAMED = 1000


def limits(owner_id: UserId) -> Limits:
    """The owner's quota and use of it, with the ids of the first tasks that hold a place."""
    holders = Task.objects.owned_by(owner_id).active().order_by("id").values_list("id", flat=True)
    named = list(holders[:HOLDERS_NAMED])
    limit, active = Quota.of(owner_id)
    # If all ids are listed, count them: another submit may have changed ``active`` in between.
    return Limits(limit, active if len(named) == HOLDERS_NAMED else len(named), named)


def change_limit(owner_id: UserId, limit: int | None, *, by_id: UserId | None) -> None:
    """Set the limit of active tasks of a user; None for the common limit.

    Tasks that are active already stay.
    """
    lifecycle.open_quota(owner_id)
    with transaction.atomic():
        quota = Quota.objects.select_for_update(of=("self",)).get(user_id=owner_id)
        if quota.active_limit == limit:
            return
        audit.record(
            by_id,
            "change_limit",
            audit.name_of(owner_id),
            before=quota.active_limit,
            after=limit,
        )
        quota.active_limit = limit
        quota.save(update_fields=["active_limit"])
