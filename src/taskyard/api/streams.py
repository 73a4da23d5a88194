"""The streams of the API: tasks as the API serializes them."""

import logging
from typing import Any

from django.http import HttpRequest

from taskyard.accounts.errors import Throttled
from taskyard.api import errors, selection
from taskyard.api.json import dumps
from taskyard.api.serialize import load_files
from taskyard.core.models import Task
from taskyard.live import asgi
from taskyard.live.asgi import Response, Scope
from taskyard.live.changes import ChangedTasks
from taskyard.live.streams import ReadPage, SSEEndpoint, StreamError, TooManyStreams

RETRY_AFTER_SECONDS = 5
ON_BEHALF_OF = b"on-behalf-of"
logger = logging.getLogger(__name__)


class TaskStreams(SSEEndpoint):
    """The streams of the views in ``api.views.events``."""

    def read_page(self, read: ReadPage, *args: Any) -> ChangedTasks:
        page = super().read_page(read, *args)
        load_files(page.tasks)
        return page

    def serialize(self, task: Task, scope: Scope) -> bytes:
        # The view has allowed the stream, so the header names the subject that owns the tasks.
        subject = asgi.header(scope, ON_BEHALF_OF)
        return selection.serialize_event(task, scope["query_string"], subject)

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
