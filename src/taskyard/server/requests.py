"""The request log: one line for each request with its user, path, status and duration."""

import asyncio
import logging
import os
import time
from http import HTTPStatus
from typing import Any

from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from taskyard.accounts.claims import LazyUser
from taskyard.live.asgi import ASGIApp, Message, Receive, Scope, Send
from taskyard.server import health, logs

# Lines are buffered for so long, because a write for each line would cost more than the line.
BUFFER_SECONDS = 0.05
LONGEST_PATH = 1000
# nginx's status for a client that disconnected before it had a response.
CLIENT_CLOSED_REQUEST = 499
# Supervisors and load balancers send these every second: only failures are logged.
PROBES = frozenset(path.encode() for path in health.PATHS)


class RequestLog:
    """An ASGI application that logs another's requests, each when it ends.

    The path is logged without its query, which may contain private data.
    """

    def __init__(self, application: ASGIApp) -> None:
        self._application = application
        self._lines: list[str] = []
        self._pid = os.getpid()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            self.flush()  # the lifespan has ended
            return
        started_at = time.perf_counter()
        start: Message = {}

        async def send_and_remember(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                start = message
            await send(message)

        log_fields: dict[str, Any] = {}
        scope[logs.REQUEST] = log_fields
        try:
            await self._application(scope, receive, send_and_remember)
        finally:
            milliseconds = round((time.perf_counter() - started_at) * 1000, 1)
            self._add(scope, start, milliseconds, log_fields.get("user"))

    def _add(self, scope: Scope, start: Message, milliseconds: float, user: int | None) -> None:
        status = start.get("status", CLIENT_CLOSED_REQUEST)
        if status == HTTPStatus.OK and scope["raw_path"] in PROBES:
            return
        headers = start.get("headers", ())
        request_id = next((value for name, value in headers if name == b"x-request-id"), b"")
        line = {
            "level": "INFO",
            "logger": "taskyard.requests",
            "event": "request",
            "pid": self._pid,
            "method": scope["method"],
            "path": scope["raw_path"][:LONGEST_PATH].decode("latin-1"),
            "status": status,
            "ms": milliseconds,
            "user": user,
            "request_id": request_id.decode("latin-1") or None,
        }
        if not self._lines:
            asyncio.get_running_loop().call_later(BUFFER_SECONDS, self.flush)
        self._lines.append(logs.output()[1].line(time.time(), line))

    def flush(self) -> None:
        """Write the buffered lines."""
        if self._lines:
            lines, self._lines = self._lines, []
            logs.output()[0].write("\n".join(lines) + "\n")


def is_enabled() -> bool:
    """Whether the log level includes these lines."""
    return logging.getLogger("taskyard.requests").isEnabledFor(logging.INFO)


def note_user(request: HttpRequest) -> None:
    """Add the user's id to the line of a request, if it is known without a query."""
    if (log_fields := request.META.get(logs.REQUEST)) is not None:
        user = getattr(request, "_cached_user", None) or request.__dict__.get("user")
        if type(user) is LazyUser:
            log_fields["user"] = user.claim.user_id
        elif type(user) is not SimpleLazyObject:  # its id would need a query
            log_fields["user"] = getattr(user, "pk", None)
