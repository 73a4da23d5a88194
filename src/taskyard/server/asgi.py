"""The ASGI application: streams and waits are async, all other requests run in WSGI threads."""

import asyncio
import gc
import os
import resource
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "taskyard.server.settings")

from django.conf import settings
from django.core.cache import close_caches
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections, reset_queries
from django.urls import get_resolver

from taskyard.core.conf import conf
from taskyard.server.utf8_request import Utf8Request

# This sets Django up, which must come before the imports below: they load models.
wsgi = get_wsgi_application()
wsgi.request_class = Utf8Request

from taskyard.api.prefer_wait import PreferWait  # noqa: E402
from taskyard.core import notifications  # noqa: E402
from taskyard.live.asgi import ASGIApp, Receive, Scope, Send  # noqa: E402
from taskyard.live.hub import Hub  # noqa: E402
from taskyard.live.streams import SSEEndpoint, sse_endpoints  # noqa: E402
from taskyard.server import request_log  # noqa: E402
from taskyard.server.admission import Admission  # noqa: E402

# Each stream is an open file, and the usual soft limit is 1,024.
MOST_OPEN_FILES = 65_536


class Router:
    """Sends a request to the first live application that matches it, or else to WSGI."""

    def __init__(self, wsgi_app: Admission, *, redis_url: str | None) -> None:
        self._wsgi_app = wsgi_app
        self._redis_url = redis_url
        self._live: list[SSEEndpoint | PreferWait] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            matching = (app for app in self._live if app.matches(scope))
            app: ASGIApp = next(matching, self._wsgi_app)
            await app(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        else:
            await send({"type": "websocket.close"})

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        raise_open_files_limit()
        hub = Hub(self._redis_url)
        hub.start()
        notifications.start()
        call_on_stop_signal(hub.release_waiters)
        disconnect_unneeded_receivers()
        freeze_gc()
        live_apps: list[type[SSEEndpoint | PreferWait]] = [*sse_endpoints(), PreferWait]
        self._live = [live_app(hub, self._wsgi_app) for live_app in live_apps]
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await hub.stop()
        self._wsgi_app.close()
        notifications.stop()
        await send({"type": "lifespan.shutdown.complete"})


class UnderPath:
    """Serves an application under a base path, also if a proxy has removed that path already."""

    def __init__(self, application: ASGIApp, base: str) -> None:
        self._application = application
        self._base = base

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope = {**scope, "root_path": self._base, **self._without_base(scope)}
        await self._application(scope, receive, send)

    def _without_base(self, scope: Scope) -> dict[str, Any]:
        """The paths of a scope without the base; nothing if they do not begin with it."""
        path, raw = scope["path"], scope["raw_path"]
        base = self._base.encode()
        if raw != base and not raw.startswith(base + b"/"):
            return {}
        return {"path": path[len(base) :] or "/", "raw_path": raw[len(base) :] or b"/"}


def call_on_stop_signal(callback: Callable[[], None]) -> None:
    """Call it at once on SIGTERM and SIGINT, before uvicorn waits for open responses."""
    if threading.current_thread() is not threading.main_thread():
        return
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        uvicorn_handler = signal.getsignal(number)

        def handle(
            number: int, frame: FrameType | None, uvicorn_handler: object = uvicorn_handler
        ) -> None:
            loop.call_soon_threadsafe(callback)
            if callable(uvicorn_handler):
                uvicorn_handler(number, frame)

        signal.signal(number, handle)


def disconnect_unneeded_receivers() -> None:
    """Disconnect those receivers of Django's request signals that would only cost time: 7 µs.

    Connections are checked when a request begins, so not again at its end. There is no cache with
    connections, and without DEBUG no log of queries.
    """
    request_finished.disconnect(close_old_connections)
    request_finished.disconnect(close_caches)
    if not settings.DEBUG:
        request_started.disconnect(reset_queries)


def freeze_gc() -> None:
    """Exclude all that is loaded now from garbage collection.

    A full collection of it would stop all requests for 65 ms.
    """
    get_resolver().url_patterns  # noqa: B018  # imports all views
    gc.collect()
    gc.freeze()


def raise_open_files_limit() -> None:
    """Raise the soft limit of open files to ``MOST_OPEN_FILES``, if the hard limit allows it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


application: ASGIApp = Router(Admission(wsgi), redis_url=conf().BROKER_URL)
if settings.TASKYARD_BASE_PATH:
    application = UnderPath(application, settings.TASKYARD_BASE_PATH)
if settings.TASKYARD_LOG_REQUESTS and request_log.is_enabled():
    application = request_log.RequestLog(application)
