"""The streams of the API: tasks as the API serializes them."""

import logging

from django.http import HttpRequest

from taskyard.accounts.errors import Throttled
from taskyard.api import errors, selection
from taskyard.api.json import dumps
from taskyard.core.models import Task
from taskyard.live import asgi
from taskyard.live.asgi import Response, Scope
from taskyard.live.streams import SSEEndpoint, StreamError, TooManyStreams

RETRY_AFTER_SECONDS = 5
logger = logging.getLogger(__name__)


class TaskStreams(SSEEndpoint):
    """The streams of the views in ``api.views.events``."""

    def serialize(self, task: Task, scope: Scope) -> bytes:
        return selection.serialize_event(task, scope["query_string"])

    def error_response(self, error: StreamError, scope: Scope) -> Response:
        request = HttpRequest()
        request.META["HTTP_ACCEPT"] = asgi.header(scope, b"accept") or ""
        exc = Throttled(RETRY_AFTER_SECONDS) if isinstance(error, TooManyStreams) else error
        problem = errors.problem_of(exc)
        if problem is None:
            logger.error("stream failed", exc_info=error)
            problem = errors.internal_error()
        response = errors.respond(problem, request)
        headers = [(k.lower().encode(), str(v).encode()) for k, v in response.headers.items()]
        return Response(response.status_code, headers, b"").with_body(dumps(response.data))
