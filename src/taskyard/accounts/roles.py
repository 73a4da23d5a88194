"""Give a user of ours a role, and take it away.

An operator has ``is_staff``; a viewer is in the group VIEWERS and has no ``is_staff``. So a user
who leaves the group is an owner, and never an operator.
"""

from typing import Any, cast

from django.contrib.auth.models import Group, Permission
from django.contrib.contenttypes.models import ContentType
from django.db import transaction

from taskyard.accounts.models import User
from taskyard.core import audit, roles
from taskyard.core.models import AuditEntry
from taskyard.core.roles import Role as Role
from taskyard.core.roles import role_of as role_of
from taskyard.core.types import UserId

VIEWERS = "Taskyard viewers"
# What Django keeps on a user object of the permissions that it has read.
_READ_PERMISSIONS = ("_perm_cache", "_user_perm_cache", "_group_perm_cache")


def set_role(user: User, role: Role, *, by_id: UserId | None = None, reason: str = "") -> bool:
    """Give a user a role in place of the former one; False if nothing changes.

    It takes the user out of every group that gives a higher role. A superuser stays one. The next
    request of the user has the new role. ``by_id`` is empty for a command or an identity provider;
    ``reason`` then says which, in the audit log.
    """
    if not _changes(user, role):
        return False
    with transaction.atomic():
        locked = _lock(user)
        if locked is None:
            return False
        changes = _changes(locked, role)
        if changes:
            before = roles.roles_of([locked])[locked.pk]
            _give(locked, role, before=before)
            details: dict[str, Any] = {"reason": reason} if reason else {}
            audit.write(
                "change_role",
                locked.username,
                by_id=by_id,
                by_name="" if by_id is None else audit.name_of(by_id),
                before=before,
                after=role,
                **details,
            )
    user.is_staff = locked.is_staff
    for cache in _READ_PERMISSIONS:
        if hasattr(user, cache):
            delattr(user, cache)
    roles.forget_links()
    return changes


def _changes(user: User, role: Role) -> bool:
    """Whether the user would have another role, or leaves the admin; two queries, without a lock.

    A viewer with ``is_staff`` would be an operator outside of the group.
    """
    if user.is_superuser:
        return False
    if role is Role.VIEWER and user.is_staff:
        return True
    return roles.roles_of([user])[user.pk] is not role


def change_role(user: User, role: Role, *, by: User) -> bool:
    """Give a user a role on the page; False if ``by``, an operator, may not."""
    with transaction.atomic():
        locked = _lock(user)
        if locked is None:
            return False
        if role not in assignable(locked, roles.roles_of([locked])[locked.pk], by=by):
            return False
        set_role(locked, role, by_id=by.pk)
    return True


def assignable(user: User, current: Role, *, by: User) -> list[Role]:
    """The roles that an operator may give a user, whose role is ``current``.

    None to oneself and to a superuser. Only a superuser makes an operator, or changes the role of
    one, or of a user who may enter the admin.
    """
    if user.pk == by.pk or user.is_superuser:
        return []
    if by.is_superuser:
        return list(Role)
    is_above = user.is_staff or current is Role.OPERATOR
    return [] if is_above else [Role.OWNER, Role.VIEWER]


def _lock(user: User) -> User | None:
    """The row of the user, locked until the end of the transaction; None if it is gone."""
    return User.objects.select_for_update(no_key=True).filter(pk=user.pk).first()


def _give(user: User, role: Role, *, before: Role) -> None:
    if role is not Role.OPERATOR:
        _withdraw(user, roles.OPERATE)
    if role is not Role.VIEWER:
        _withdraw(user, roles.VIEW)
    elif before is not Role.VIEWER:
        user.groups.add(_viewers())
    user.is_staff = role is Role.OPERATOR
    user.save(update_fields=["is_staff"])


def _withdraw(user: User, name: str) -> None:
    """Take a permission from a user, with every group that gives it."""
    permission = _permission(name)
    user.user_permissions.remove(permission)
    user.groups.remove(*user.groups.filter(permissions=permission))


def _viewers() -> Group:
    group, _ = Group.objects.get_or_create(name=VIEWERS)
    group.permissions.add(_permission(roles.VIEW))
    return group


def _permission(name: str) -> Permission:
    """The row of a permission; `migrate` creates it, unless a project has no such signals."""
    codename = name.partition(".")[2]
    names = dict(cast("list[tuple[str, str]]", AuditEntry._meta.permissions))
    permission, _ = Permission.objects.get_or_create(
        content_type=ContentType.objects.get_for_model(AuditEntry),
        codename=codename,
        defaults={"name": names[codename]},
    )
    return permission
