"""Settings of Django REST Framework that would break the API if it took them from the project."""

import re
from typing import Any

from rest_framework.exceptions import PermissionDenied
from rest_framework.permissions import BasePermission
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.throttling import SimpleRateThrottle
from rest_framework.views import APIView


class CamelCase(JSONRenderer):
    def render(self, data: Any, *args: Any, **options: Any) -> bytes:
        camel = {re.sub("_(.)", lambda m: m[1].upper(), key): data[key] for key in data or {}}
        return bytes(super().render(camel, *args, **options))


def handle(exc: Exception, context: Any) -> Response:
    return Response({"project": type(exc).__name__}, status=418)


class OnceADay(SimpleRateThrottle):
    rate = "1/day"

    def get_cache_key(self, request: Request, view: Any) -> str:
        return "everybody"


class NotBlocked(BasePermission):
    message = "Pay your bill."
    code = "unpaid"

    def has_permission(self, request: Request, view: Any) -> bool:
        return not request.user.email.startswith("blocked")


class Own(APIView):
    """A view of the project: all of its settings apply."""

    permission_classes = ()

    def get(self, request: Request) -> Response:
        return Response({"some_key": request.version})

    def post(self, request: Request) -> Response:
        raise PermissionDenied
