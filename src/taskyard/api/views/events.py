"""The views behind the streams: they check a request and document the URLs.

``TaskStreams`` calls them before it streams, and they respond with an empty 200 if the client may
have the stream. Without ``taskyard.live.with_streams`` the client gets a 406.
"""

from django.utils.translation import gettext_lazy as _
from drf_spectacular.types import OpenApiTypes
from rest_framework.exceptions import APIException
from rest_framework.request import Request
from rest_framework.response import Response

from taskyard.accounts.scopes import Scope
from taskyard.api import selection
from taskyard.api.openapi import LAST_EVENT_ID, documented
from taskyard.api.streams import TaskStreams
from taskyard.api.views.base import ApiView
from taskyard.api.views.tasks import own_task
from taskyard.live.streams import is_sse_check, sse_view

STREAM = "text/event-stream"


class NeedsAsgi(APIException):
    """No live application calls the view. It cannot stream: that would hold a thread."""

    status_code = 406
    default_code = "stream_needs_asgi"
    default_detail = _(
        "Streams need an ASGI server and taskyard.live.with_streams around its application."
    )


@sse_view(TaskStreams)
class AllEvents(ApiView):
    scopes = {"GET": Scope.TASKS_READ}

    @documented(
        "Follow all own tasks",
        None,
        {200: OpenApiTypes.STR},
        (406, 429),
        parameters=[LAST_EVENT_ID],
        operation_id="tasks_events",
        media_type=STREAM,
    )
    def get(self, request: Request) -> Response:
        """Server-sent events: `event: task`, `id:`, and the task in `data:`. First come the active
        tasks as they are, or, with `Last-Event-ID`, the tasks that have changed since; then every
        change. A comment every 15 s keeps the connection open."""
        selection.parse_fields(request.query_params)
        return allow_stream(request)


@sse_view(TaskStreams)
class TaskEvents(ApiView):
    scopes = {"GET": Scope.TASKS_READ}

    @documented(
        "Follow a task",
        None,
        {200: OpenApiTypes.STR, 204: None},
        (404, 406, 429),
        parameters=[LAST_EVENT_ID],
        operation_id="task_events",
        media_type=STREAM,
    )
    def get(self, request: Request, task_id: str) -> Response:
        """Server-sent events: `event: task`, `id:`, and the task in `data:`. First comes the task
        as it is, then every change. The stream ends after the task has ended."""
        selection.parse_fields(request.query_params)
        own_task(request, task_id)
        return allow_stream(request)


def allow_stream(request: Request) -> Response:
    """The empty response to an SSE endpoint. Raises NeedsAsgi for a client."""
    if not is_sse_check(request):
        raise NeedsAsgi
    return Response()
