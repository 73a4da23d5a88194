"""The permissions of the endpoints of staff."""

from typing import Any

from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from taskyard.core.roles import Role, role_of


class IsStaff(BasePermission):
    """Staff, of any user model: viewers read, and only operators change something."""

    def has_permission(self, request: Request, view: Any) -> bool:
        role = role_of(request.user)
        return role is Role.OPERATOR or (role is Role.VIEWER and request.method in SAFE_METHODS)
