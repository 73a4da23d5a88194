"""How many active tasks a user may have, and its weight: read the quota, and change it."""

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
    _change(owner_id, "active_limit", limit, action="change_limit", by_id=by_id)


def change_weight(owner_id: UserId, weight: float, *, by_id: UserId | None) -> None:
    """Set how many seconds a user gets for each one of a user with the weight 1; above 0."""
    _change(owner_id, "weight", weight, action="change_weight", by_id=by_id)


def _change(
    owner_id: UserId, field: str, value: float | None, *, action: str, by_id: UserId | None
) -> None:
    lifecycle.open_quota(owner_id)
    with transaction.atomic():
        quota = Quota.objects.select_for_update(of=("self",)).get(user_id=owner_id)
        before = getattr(quota, field)
        if before == value:
            return
        audit.record(by_id, action, audit.name_of(owner_id), before=before, after=value)
        setattr(quota, field, value)
        quota.save(update_fields=[field])
