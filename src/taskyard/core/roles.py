"""Roles: who sees the pages of staff, and who may change what they show.

Django's permissions decide, so that the groups and the authentication backends of a project serve:
``taskyard.operate`` makes an operator, ``taskyard.view_staff`` a viewer. ``is_staff`` without
either of them makes an operator.
"""

import time
from collections.abc import Sequence
from enum import StrEnum
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import Group, PermissionsMixin
from django.db.models import Q

from taskyard.core.conf import conf
from taskyard.core.types import UserId

OPERATE, VIEW = "taskyard.operate", "taskyard.view_staff"
CODENAMES = tuple(permission.partition(".")[2] for permission in (OPERATE, VIEW))
# How long a process relies on what it last read about the groups, only to show or hide links.
LINKS_SECONDS = 10.0


class Role(StrEnum):
    """What a user may do with the tasks of others; superusers are operators."""

    OWNER = "owner"
    """Nothing: other users' tasks do not exist for an owner."""
    VIEWER = "viewer"
    """See the pages of staff, and change nothing."""
    OPERATOR = "operator"
    """See and change."""


def role_of(user: Any) -> Role:
    """The role of the user of a request, of any user model."""
    if getattr(user, "is_superuser", False):
        return Role.OPERATOR
    # A user model need not have permissions.
    if (has_permission := getattr(user, "has_perm", None)) is not None:
        if has_permission(OPERATE):
            return Role.OPERATOR
        if has_permission(VIEW):
            return Role.VIEWER
    return Role.OPERATOR if getattr(user, "is_staff", False) else Role.OWNER


def roles_of(users: Sequence[Any]) -> dict[UserId, Role]:
    """The roles of many users by primary key, also of those who may not sign in; two queries.

    It knows Django's permissions, not those that only another backend gives.
    """
    operators, viewers = (_holders(permission, users) for permission in (OPERATE, VIEW))

    def role(user: Any) -> Role:
        if getattr(user, "is_superuser", False) or user.pk in operators:
            return Role.OPERATOR
        if user.pk in viewers:
            return Role.VIEWER
        return Role.OPERATOR if getattr(user, "is_staff", False) else Role.OWNER

    return {user.pk: role(user) for user in users}


def sees_data(user: Any) -> bool:
    """Whether a member of staff sees inputs, results, logs and names of files of others."""
    role = role_of(user)
    return role is Role.OPERATOR or (role is Role.VIEWER and conf().VIEWERS_SEE_DATA)


def sees_links(user: Any) -> bool:
    """Whether the pages of a user have links to the pages of staff.

    Asks for the permissions of a user without ``is_staff`` only if some group or user has one of
    ours, so that pages of owners cost no query in a project without viewers. The views decide who
    sees the pages.
    """
    if getattr(user, "is_staff", False):
        return True
    return _are_permissions_given() and role_of(user) is not Role.OWNER


def forget_links() -> None:
    """Read about the groups again at the next page, because a role has changed."""
    global _given
    _given = _NEVER


_NEVER = (float("-inf"), False)
_given = _NEVER


def _are_permissions_given() -> bool:
    """Whether some group or user has a permission of ours, as of the last LINKS_SECONDS."""
    global _given
    read_at, given = _given
    if time.monotonic() - read_at > LINKS_SECONDS:
        given = _has_permissions() and (
            Group.objects.filter(_ours("permissions__")).exists()
            or get_user_model()._default_manager.filter(_ours("user_permissions__")).exists()
        )
        _given = time.monotonic(), given
    return given


def _ours(prefix: str) -> Q:
    return Q(**{f"{prefix}codename__in": CODENAMES, f"{prefix}content_type__app_label": "taskyard"})


def _holders(permission: str, users: Sequence[Any]) -> set[UserId]:
    """The keys of those users who have a permission, themselves or by a group."""
    if not (users and _has_permissions()):
        return set()
    any_state: Any = None  # also users who may not sign in
    holders = ModelBackend().with_perm(permission, any_state, include_superusers=False)
    return set(holders.filter(pk__in=[user.pk for user in users]).values_list("pk", flat=True))


def _has_permissions() -> bool:
    """Whether the users of this project have Django's groups and permissions."""
    return issubclass(get_user_model(), PermissionsMixin)
