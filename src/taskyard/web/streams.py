"""The stream of the page: which of the person's tasks have changed, for a session.

The page fetches what it shows of them, a few times a second at most. So an event is small, and
what a task looks like is written in one place, its template.
"""

import math
import re
from urllib.parse import parse_qs

from taskyard.core.models import Task
from taskyard.live.asgi import Response, Scope
from taskyard.live.streams import SSEEndpoint, StreamError, TooManyStreams

# How the ordinary application says whose session it is. It never leaves this process.
USER = "X-Taskyard-User"


class PageStreams(SSEEndpoint):
    """GET /events/?since=<position>."""

    address = re.compile(r"/events/?", re.ASCII)

    def authenticate(self, scope: Scope, response: Response) -> tuple[int, float] | None:
        user_id = response.header(USER.lower().encode())
        return None if user_id is None else (int(user_id), math.inf)

    def serialize(self, task: Task, scope: Scope) -> bytes:
        # What it is now makes two changes two events.
        return b'{"id":%d,"is":"%d"}' % (task.pk, task.changed)

    def error_response(self, failure: StreamError, scope: Scope) -> Response:
        status = 429 if isinstance(failure, TooManyStreams) else 503
        return Response(status, [(b"retry-after", b"5")], b"").with_body(b"")

    def position(self, scope: Scope) -> str:
        given = parse_qs(scope["query_string"].decode("latin-1")).get("since", [""])
        return super().position(scope) or given[0]

    def reports_hub_state(self) -> bool:
        return True
