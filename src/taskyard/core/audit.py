"""What staff did: who, what, when. Never changed.

Written with the deed in one transaction, or before it where the deed takes many.
"""

from typing import Any

from django.contrib.auth import get_user_model

from taskyard.core.models import AuditEntry

LONGEST_TARGET = 200


def record(by_id: int | None, action: str, target: str = "", **details: Any) -> None:
    """Add a line; what no person did leaves none. ``details`` hold no inputs and no secrets."""
    if by_id is None:
        return
    users = get_user_model()._default_manager
    name = users.filter(pk=by_id).values_list(get_user_model().USERNAME_FIELD, flat=True).first()
    AuditEntry.objects.create(
        by_id=by_id,
        by_name=name or "",
        action=action,
        target=target[:LONGEST_TARGET],
        details=details,
    )
