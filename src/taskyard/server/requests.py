"""The log's line of each request: who asked for what, and how it was answered."""

import asyncio
import logging
import os
import time
from http import HTTPStatus
from typing import Any

from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from taskyard.accounts.authentication import LazyUser
from taskyard.live.asgi import ASGIApp, Message, Receive, Scope, Send
from taskyard.server import logs

# Lines are gathered for so long: a write for each would be most of what they cost.
GATHER_SECONDS = 0.05
LONGEST_PATH = 1000
# A client that left before it was answered, as proxies log it.
CLIENT_LEFT = 499
# What supervisors and balancers ask every second: a line only where all is not well.
PROBES = {b"/livez", b"/livez/", b"/readyz", b"/readyz/"}


class RequestLog:
    """An ASGI application that logs another's requests; a stream when it ends.

    The path comes without its query, which may hold what is nobody else's.
    """

    def __init__(self, application: ASGIApp) -> None:
        self._application = application
        self._lines: list[str] = []
        self._pid = os.getpid()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            self.flush()  # at the end of the web's life
            return
        began = time.perf_counter()
        start: Message = {}

        async def noted(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                start = message
            await send(message)

        asked: dict[str, Any] = {}
        scope[logs.REQUEST] = asked
        try:
            await self._application(scope, receive, noted)
        finally:
            milliseconds = round((time.perf_counter() - began) * 1000, 1)
            self._add(scope, start, milliseconds, asked.get("user"))

    def _add(self, scope: Scope, start: Message, milliseconds: float, user: int | None) -> None:
        status = start.get("status", CLIENT_LEFT)
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
            asyncio.get_running_loop().call_later(GATHER_SECONDS, self.flush)
        self._lines.append(logs.output()[1].line(time.time(), line))

    def flush(self) -> None:
        """Write what was gathered."""
        if self._lines:
            lines, self._lines = self._lines, []
            logs.output()[0].write("\n".join(lines) + "\n")


def wanted() -> bool:
    """Whether lines of this level are logged at all."""
    return logging.getLogger("taskyard.requests").isEnabledFor(logging.INFO)


def note_user(request: HttpRequest) -> None:
    """Remember whose request it is, if that is known by now; nothing is looked up."""
    if (asked := request.META.get(logs.REQUEST)) is not None:
        user = getattr(request, "_cached_user", None) or request.__dict__.get("user")
        if type(user) is LazyUser:
            asked["user"] = user.claim.user_id
        elif type(user) is not SimpleLazyObject:  # which would be looked up here
            asked["user"] = getattr(user, "pk", None)
