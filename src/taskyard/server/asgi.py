"""The ASGI application: streams and waits are async, all other requests run in WSGI threads."""

import gc
import os
import resource
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "taskyard.server.settings")

from django.conf import settings
from django.core.cache import close_caches
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections, reset_queries
from django.urls import get_resolver

from taskyard.server.utf8_request import Utf8Request

# This sets Django up, which must come before the imports below: they load models.
wsgi = get_wsgi_application()
wsgi.request_class = Utf8Request

from taskyard.accounts import outbox  # noqa: E402
from taskyard.core import notifications  # noqa: E402
from taskyard.live import with_streams  # noqa: E402
from taskyard.live.asgi import ASGIApp, Receive, Scope, Send  # noqa: E402
from taskyard.server import request_log  # noqa: E402
from taskyard.server.admission import Admission  # noqa: E402

# Each stream is an open file, and the usual soft limit is 1,024.
MOST_OPEN_FILES = 65_536
# How long a web that stops may send the mails that wait.
MAIL_SECONDS = 5.0


class Web:
    """Starts and stops with the server, and sends each request to WSGI."""

    def __init__(self, wsgi_app: Admission) -> None:
        self._wsgi_app = wsgi_app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._wsgi_app(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        else:
            await send({"type": "websocket.close"})

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        raise_open_files_limit()
        notifications.start()
        disconnect_unneeded_receivers()
        freeze_gc()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self._wsgi_app.close()
        outbox.close(MAIL_SECONDS)
        notifications.stop()
        await send({"type": "lifespan.shutdown.complete"})


class UnderPath:
    """Serves an application under a base path, also if a proxy has removed that path already."""

    def __init__(self, application: ASGIApp, base: str) -> None:
        self._application = application
        self._base = base

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope = {**scope, "root_path": self._base, **self._paths(scope)}
        await self._application(scope, receive, send)

    def _paths(self, scope: Scope) -> dict[str, Any]:
        """The path with the base, as ASGI has it, and the raw path without."""
        raw, base = scope["raw_path"], self._base.encode()
        if raw == base:
            return {"path": f"{self._base}/", "raw_path": b"/"}
        if raw.startswith(base + b"/"):
            return {"raw_path": raw[len(base) :]}
        return {"path": self._base + scope["path"]}


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


application: ASGIApp = with_streams(Web(Admission(wsgi)))
if settings.TASKYARD_BASE_PATH:
    application = UnderPath(application, settings.TASKYARD_BASE_PATH)
if settings.TASKYARD_LOG_REQUESTS and request_log.is_enabled():
    application = request_log.RequestLog(application)
