"""The streams of the API: an owner's tasks as the API represents them, for a token."""

import logging
import re

from django.http import HttpRequest

from taskyard.accounts.errors import Throttled
from taskyard.api import errors, selection
from taskyard.api.bearer import holder
from taskyard.api.json import dumps
from taskyard.core.models import Task
from taskyard.live import asgi
from taskyard.live.asgi import Answer, Scope
from taskyard.live.streams import Failure, Streams, TooMany

RETRY_AFTER_SECONDS = 5
logger = logging.getLogger(__name__)


class TaskStreams(Streams):
    """GET /api/tasks/events/ and /api/tasks/<id>/events/."""

    address = re.compile(r"/api/tasks/(?:([0-9]{1,19})/)?events/?", re.ASCII)

    def holder(self, scope: Scope, answer: Answer) -> tuple[int, float] | None:
        return holder(scope)

    def written(self, task: Task, scope: Scope) -> bytes:
        return selection.written(task, scope["query_string"])

    def refusal(self, failure: Failure, scope: Scope) -> Answer:
        request = HttpRequest()
        request.META["HTTP_ACCEPT"] = asgi.header(scope, b"accept") or ""
        told = Throttled(RETRY_AFTER_SECONDS) if isinstance(failure, TooMany) else failure
        problem = errors.problem_of(told)
        if problem is None:
            logger.error("stream failed", exc_info=failure)
            problem = errors.fault()
        response = errors.respond(problem, request)
        headers = [(k.lower().encode(), str(v).encode()) for k, v in response.headers.items()]
        return Answer(response.status_code, headers, b"").with_body(dumps(response.data))
