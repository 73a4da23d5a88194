"""Suspend and restore users. A suspended user's tokens and sessions are refused."""

from django.db import transaction

from taskyard.accounts.models import User
from taskyard.core import audit, roles


def suspend(user: User, *, by: User) -> bool:
    """Suspend a user; False if ``by`` may not: oneself never, staff only as a superuser."""
    return _set(user, by=by, active=False)


def restore(user: User, *, by: User) -> bool:
    """Restore a user; False if ``by`` may not."""
    return _set(user, by=by, active=True)


def is_above(user: User, by: User) -> bool:
    """Whether the user is an operator or may enter the admin, and ``by`` is no superuser.

    A user is not above oneself.
    """
    if user.pk == by.pk or by.is_superuser:
        return False
    return user.is_staff or roles.roles_of([user])[user.pk] is roles.Role.OPERATOR


def record(user: User, *, by_id: int | None) -> None:
    """Write the audit entry for the user's new state."""
    audit.record(by_id, "restore_user" if user.is_active else "suspend_user", user.username)


def _set(user: User, *, by: User, active: bool) -> bool:
    if user.pk == by.pk or is_above(user, by):
        return False
    with transaction.atomic():
        if User.objects.filter(pk=user.pk, is_active=not active).update(is_active=active):
            user.is_active = active
            record(user, by_id=by.pk)
    return True
