"""The one port: streams and waits go to async applications, everything else to WSGI threads."""

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

from taskyard.server.http import Utf8Request

# Django is set up before anything that has models is imported.
wsgi = get_wsgi_application()
wsgi.request_class = Utf8Request

from taskyard.api.prefer_wait import PreferWait  # noqa: E402
from taskyard.api.streams import TaskStreams  # noqa: E402
from taskyard.core import notifications  # noqa: E402
from taskyard.live.asgi import ASGIApp  # noqa: E402
from taskyard.live.hub import Hub  # noqa: E402
from taskyard.server import requests  # noqa: E402
from taskyard.server.admission import Admission  # noqa: E402
from taskyard.server.wsgi_adapter import Receive, Scope, Send  # noqa: E402
from taskyard.web.streams import PageStreams  # noqa: E402

# A stream is an open file; systems often begin with a thousand.
MOST_OPEN_FILES = 65_536


class Router:
    def __init__(self, wsgi_app: Admission, *, redis_url: str | None) -> None:
        self._wsgi_app = wsgi_app
        self._redis_url = redis_url
        self._live: list[TaskStreams | PageStreams | PreferWait] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            live = (each for each in self._live if each.matches(scope))
            answers: ASGIApp = next(live, self._wsgi_app)
            await answers(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        else:
            await send({"type": "websocket.close"})

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        allow_many_files()
        hub = Hub(self._redis_url)
        hub.start()
        notifications.start()
        when_told_to_stop(hub.release_waiters)
        look_at_connections_once()
        freeze_gc()
        self._live = [kind(hub, self._wsgi_app) for kind in (TaskStreams, PageStreams, PreferWait)]
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await hub.stop()
        self._wsgi_app.close()
        notifications.stop()
        await send({"type": "lifespan.shutdown.complete"})


class UnderPath:
    """An application shown under a path: the path is cut off, whether or not a proxy did so."""

    def __init__(self, application: ASGIApp, base: str) -> None:
        self._application = application
        self._base = base

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope = {**scope, "root_path": self._base, **self._inner(scope)}
        await self._application(scope, receive, send)

    def _inner(self, scope: Scope) -> dict[str, Any]:
        path, raw = scope["path"], scope["raw_path"]
        base = self._base.encode()
        if raw != base and not raw.startswith(base + b"/"):
            return {}
        return {"path": path[len(base) :] or "/", "raw_path": raw[len(base) :] or b"/"}


def when_told_to_stop(call: Callable[[], None]) -> None:
    """Have it called on SIGTERM and SIGINT at once, before the server waits for open answers."""
    if threading.current_thread() is not threading.main_thread():
        return
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        server_stops = signal.getsignal(number)

        def stop(number: int, frame: FrameType | None, server_stops: object = server_stops) -> None:
            loop.call_soon_threadsafe(call)
            if callable(server_stops):
                server_stops(number, frame)

        signal.signal(number, stop)


def look_at_connections_once() -> None:
    """When a request begins, whether the last one left a connection broken; not at its end too.

    Nor is there a log of queries to empty where none is kept, nor a cache with connections.
    """
    request_finished.disconnect(close_old_connections)
    request_finished.disconnect(close_caches)
    if not settings.DEBUG:
        request_started.disconnect(reset_queries)


def freeze_gc() -> None:
    """What was loaded stays: the collector need not look at it again with every few requests.

    It took a fifth of a create's time.
    """
    get_resolver().url_patterns  # noqa: B018  # loaded now, with all the views
    gc.collect()
    gc.freeze()


def allow_many_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


application: ASGIApp = Router(
    Admission(wsgi),
    redis_url=settings.REDIS_URL,
)
if settings.TASKYARD_BASE_PATH:
    application = UnderPath(application, settings.TASKYARD_BASE_PATH)
if settings.TASKYARD_LOG_REQUESTS and requests.wanted():
    application = requests.RequestLog(application)
