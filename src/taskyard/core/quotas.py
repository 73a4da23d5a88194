"""Overrides of the common limit of active tasks, for single users."""

from django.db import transaction

from taskyard.core import audit, lifecycle
from taskyard.core.models import Account


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
