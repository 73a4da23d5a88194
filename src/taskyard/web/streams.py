"""The event stream of the pages: the ids of the user's tasks that have changed.

The page then fetches the HTML of these tasks, a few times a second at most. So an event is small,
and only the template renders a task.
"""

from urllib.parse import parse_qs

from taskyard.core.models import Task
from taskyard.live.asgi import Response, Scope
from taskyard.live.streams import SSEEndpoint, StreamError, TooManyStreams


class PageStreams(SSEEndpoint):
    """The stream of the pages, from the position in the parameter ``since``."""

    def serialize(self, task: Task, scope: Scope) -> bytes:
        # The revision makes the data of two changes differ, so that both are sent.
        return b'{"id":%d,"is":"%d"}' % (task.pk, task.changed)

    def error_response(self, failure: StreamError, scope: Scope) -> Response:
        status = 429 if isinstance(failure, TooManyStreams) else 503
        return Response(status, [(b"retry-after", b"5")], b"").with_body(b"")

    def position(self, scope: Scope) -> str:
        since = parse_qs(scope["query_string"].decode("latin-1")).get("since", [""])
        return super().position(scope) or since[0]

    def reports_hub_state(self) -> bool:
        return True
