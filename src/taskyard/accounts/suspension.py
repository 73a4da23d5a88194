"""Suspending users: they cannot come in, by token or by session, until they are restored."""

from django.db import transaction

from taskyard.accounts.models import User
from taskyard.core import audit


def suspend(user: User, *, by: User) -> bool:
    """False where ``by`` may not: nobody locks themselves out, only superusers lock out staff."""
    return _set(user, by=by, active=False)


def restore(user: User, *, by: User) -> bool:
    """False where ``by`` may not."""
    return _set(user, by=by, active=True)


def is_above(user: User, by: User) -> bool:
    """Whether ``by`` may not change this user: staff each other, or a superuser; superusers may."""
    if user.pk == by.pk or by.is_superuser:
        return False
    return user.is_staff or user.is_superuser


def record(user: User, *, by_id: int | None) -> None:
    """The audit line of how the user is now."""
    audit.record(by_id, "restore_user" if user.is_active else "suspend_user", user.username)


def _set(user: User, *, by: User, active: bool) -> bool:
    if user.pk == by.pk or is_above(user, by):
        return False
    with transaction.atomic():
        if User.objects.filter(pk=user.pk, is_active=not active).update(is_active=active):
            user.is_active = active
            record(user, by_id=by.pk)
    return True
