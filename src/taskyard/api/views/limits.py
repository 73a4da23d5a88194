"""The view of the own quota."""

from rest_framework.request import Request
from rest_framework.response import Response

from taskyard.api import schemas
from taskyard.api.openapi import documented
from taskyard.api.scopes import ANY
from taskyard.api.views.base import ApiView, user_of
from taskyard.core import quotas


class Limits(ApiView):
    scopes = {"GET": ANY}

    @documented("Show the own quota", None, {200: schemas.LimitsAnswer})
    def get(self, request: Request) -> Response:
        """Says how many tasks may be active at once, how many are, and which."""
        limits = quotas.limits(user_of(request).pk)
        return Response(
            {
                "active_limit": limits.active_limit,
                "active": limits.active,
                "available": limits.available,
                "tasks": limits.tasks,
            }
        )
