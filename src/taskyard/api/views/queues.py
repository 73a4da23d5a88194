"""Queues, for staff: how full they are, pausing and resuming them."""

from collections.abc import Iterator
from typing import Any

from django.db.models import Count, Q
from rest_framework.exceptions import NotFound
from rest_framework.permissions import IsAdminUser
from rest_framework.request import Request
from rest_framework.response import Response

from taskyard.api import shapes
from taskyard.api.openapi import documented
from taskyard.api.views.base import ApiView, user_of
from taskyard.catalog.task_type import registry
from taskyard.core import queues
from taskyard.core.models import Task

COUNTS = {
    "waiting": Count("id", filter=Q(ready=True)),
    "sleeping": Count("id", filter=Q(wake_at__isnull=False)),
    "running": Count("id", filter=Q(worker__isnull=False)),
}


class StaffView(ApiView):
    permission_classes = (IsAdminUser,)


class Queues(StaffView):
    @documented(
        "List the queues", None, {200: shapes.QueuesAnswer}, (403,), operation_id="queues_list"
    )
    def get(self, request: Request) -> Response:
        return Response(list(_queues()))


class QueuePause(StaffView):
    @documented("Pause a queue", None, {200: shapes.QueueAnswer}, (403, 404))
    def post(self, request: Request, name: str) -> Response:
        """No task of it begins from now on; those that run go on. Doing so twice is no error."""
        _known(name)
        queues.pause(name, by_id=user_of(request).pk)
        return Response(_known(name))


class QueueResume(StaffView):
    @documented("Resume a queue", None, {200: shapes.QueueAnswer}, (403, 404))
    def post(self, request: Request, name: str) -> Response:
        _known(name)
        queues.resume(name)
        return Response(_known(name))


def _queues() -> Iterator[dict[str, Any]]:
    """Those of the known task types, and whatever is paused or has tasks besides."""
    active = Task.objects.active().values_list("queue").annotate(**COUNTS)
    counts = {name: dict(zip(COUNTS, row, strict=True)) for name, *row in active}
    paused = queues.paused()
    for name in sorted({*registry.queues(), *paused, *counts}):
        counted = counts.get(name, dict.fromkeys(COUNTS, 0))
        yield {"name": name, "paused": name in paused, **counted}


def _known(name: str) -> dict[str, Any]:
    """Raises NotFound."""
    for queue in _queues():
        if queue["name"] == name:
            return queue
    raise NotFound
