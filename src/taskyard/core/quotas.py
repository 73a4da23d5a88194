"""How many active tasks a user may have: what it is now, and overrides for single users."""

from django.db import transaction

from taskyard.core import audit, lifecycle
from taskyard.core.models import Account, Task
from taskyard.core.types import Limits

HOLDERS_NAMED = 1000


def limits(owner_id: int) -> Limits:
    """What the owner may have and has; of the tasks that hold a place, the first are named."""
    holders = Task.objects.owned_by(owner_id).active().order_by("id").values_list("id", flat=True)
    named = list(holders[:HOLDERS_NAMED])
    limit, active = Account.quota_of(owner_id)
    # While all are named, the two agree, though more may have been submitted in between.
    return Limits(limit, active if len(named) == HOLDERS_NAMED else len(named), named)


def change_limit(owner_id: int, limit: int | None, *, by_id: int | None) -> None:
    """From now on the user may have so many active tasks; None: as many as everybody.

    What is active already stays.
    """
    lifecycle.open_account(owner_id)
    with transaction.atomic():
        account = (
            Account.objects.select_for_update(of=("self",))
            .select_related("user")
            .get(user_id=owner_id)
        )
        if account.active_limit == limit:
            return
        audit.record(
            by_id,
            "change_limit",
            account.user.get_username(),
            before=account.active_limit,
            after=limit,
        )
        account.active_limit = limit
        account.save(update_fields=["active_limit"])
