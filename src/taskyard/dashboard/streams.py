"""The stream of the page: which of the person's tasks have changed, for a session.

The page fetches what it shows of them, a few times a second at most. So an event is small, and
what a task looks like is written in one place, its template.
"""

import math
import re
from urllib.parse import parse_qs

from taskyard.core.models import Task
from taskyard.live.asgi import Answer, Scope
from taskyard.live.streams import Failure, Streams, TooMany

# How the ordinary application says whose session it is. It never leaves this process.
USER = "X-Taskyard-User"


class PageStreams(Streams):
    """GET /events/?since=<position>."""

    address = re.compile(r"/events/?", re.ASCII)

    def holder(self, scope: Scope, answer: Answer) -> tuple[int, float] | None:
        user_id = answer.header(USER.lower().encode())
        return None if user_id is None else (int(user_id), math.inf)

    def written(self, task: Task, scope: Scope) -> bytes:
        # What it is now makes two changes two events.
        return b'{"id":%d,"is":"%d"}' % (task.pk, task.changed)

    def refusal(self, failure: Failure, scope: Scope) -> Answer:
        status = 429 if isinstance(failure, TooMany) else 503
        return Answer(status, [(b"retry-after", b"5")], b"").with_body(b"")

    def position(self, scope: Scope) -> str:
        given = parse_qs(scope["query_string"].decode("latin-1")).get("since", [""])
        return super().position(scope) or given[0]

    def tells_of_hub(self) -> bool:
        return True
