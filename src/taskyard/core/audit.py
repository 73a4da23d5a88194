"""What staff did: who, what, when. Never changed.

Written with the deed in one transaction, or before it where the deed takes many.
"""

from typing import Any

from django.contrib.auth import get_user_model

from taskyard.core.models import AuditEntry
from taskyard.core.types import UserId

LONGEST_TARGET, LONGEST_NAME = 200, 254


def name_of(user_id: UserId) -> str:
    """The name that identifies a user, such as an e-mail address; empty if there is no such user.

    Reads no other column of the user.
    """
    users = get_user_model()._default_manager.only(get_user_model().USERNAME_FIELD)
    user = users.filter(pk=user_id).first()
    return "" if user is None else str(user.get_username())


def record(by_id: UserId | None, action: str, target: str = "", **details: Any) -> None:
    """Add a line; what no person did leaves none. ``details`` hold no inputs and no secrets."""
    if by_id is None:
        return
    AuditEntry.objects.create(
        by_id=by_id,
        by_name=name_of(by_id)[:LONGEST_NAME],
        action=action,
        target=target[:LONGEST_TARGET],
        details=details,
    )
