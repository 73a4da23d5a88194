"""Settings of Django REST Framework that would break the API if it took them from the project."""

import re
from typing import Any

from rest_framework.authentication import BaseAuthentication
from rest_framework.permissions import BasePermission
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.throttling import SimpleRateThrottle


class CamelCase(JSONRenderer):
    def render(self, data: Any, *args: Any, **options: Any) -> bytes:
        camel = {re.sub("_(.)", lambda m: m[1].upper(), key): data[key] for key in data or {}}
        return bytes(super().render(camel, *args, **options))


def handle(exc: Exception, context: Any) -> Response:
    return Response({"project": type(exc).__name__}, status=418)


def refuse(*args: Any, **options: Any) -> Any:
    """A hook for documents of the project alone."""
    raise AssertionError


class OnceADay(SimpleRateThrottle):
    rate = "1/day"

    def get_cache_key(self, request: Request, view: Any) -> str:
        return type(view).__name__


class NotBlocked(BasePermission):
    message = "Pay your bill."
    code = "unpaid"

    def has_permission(self, request: Request, view: Any) -> bool:
        return not getattr(request.user, "email", "").startswith("blocked")


class Machine:
    """A user of no model."""

    pk = None
    is_authenticated = True


class MachineAuthentication(BaseAuthentication):
    def authenticate(self, request: Request) -> tuple[Machine, None] | None:
        authorization = request.META.get("HTTP_AUTHORIZATION")
        return (Machine(), None) if authorization == "Machine" else None
