"""The event stream of the pages: the ids of the user's tasks that have changed.

The page then fetches the HTML of these tasks, a few times a second at most. So an event is small,
and only the template renders a task.
"""

import math
from typing import Any
from urllib.parse import parse_qs, quote, unquote

from django.contrib.auth import get_user_model

from taskyard.core.models import Task
from taskyard.live.asgi import Response, Scope
from taskyard.live.streams import SSEEndpoint, StreamError, TooManyStreams

# The view returns the user id in this header; the stream does not forward it.
USER = "X-Taskyard-User"


def user_header(user_id: Any) -> dict[str, str]:
    """The header with a user id of any type."""
    return {USER: quote(str(user_id))}


class PageStreams(SSEEndpoint):
    """The stream of the pages, from the position in the parameter ``since``."""

    def authenticate(self, scope: Scope, response: Response) -> tuple[Any, float] | None:
        user_id = response.header(USER.lower().encode())
        if user_id is None:
            return None
        return get_user_model()._meta.pk.to_python(unquote(user_id.decode())), math.inf

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
