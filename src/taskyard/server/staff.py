"""`taskyard staff`: list staff, show the role of a user, and give a user another."""

from collections.abc import Iterator

from django.db.models import Q

from taskyard.accounts.models import User
from taskyard.accounts.roles import Role, set_role
from taskyard.core import roles
from taskyard.server.env import ConfigurationError


def all_staff() -> Iterator[str]:
    """A line for each member of staff, by name."""
    has_permission = Q(user_permissions__codename__in=roles.CODENAMES) | Q(
        groups__permissions__codename__in=roles.CODENAMES
    )
    staff = Q(is_staff=True) | Q(is_superuser=True) | has_permission
    users = list(User.objects.filter(staff).distinct().order_by("username"))
    role_of = roles.roles_of(users)
    return (_line(user, role_of[user.pk]) for user in users)


def give(name: str, role: Role | None) -> str:
    """The line of a user, who has been given the role if there is one.

    Raises ConfigurationError if there is no such user, or a superuser would lose the role.
    """
    try:
        user = User.objects.get_by_natural_key(name)
    except User.DoesNotExist:
        raise ConfigurationError(f"there is no user {name}") from None
    if role is not None:
        if user.is_superuser:
            raise ConfigurationError(f"{user.username} is a superuser, and stays one")
        set_role(user, role, reason="taskyard staff")
    return _line(user, roles.roles_of([user])[user.pk])


def _line(user: User, role: Role) -> str:
    suspended = "" if user.is_active else ", suspended"
    return f"{user.username}: {'superuser' if user.is_superuser else role}{suspended}"
