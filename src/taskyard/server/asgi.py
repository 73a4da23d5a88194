"""The one port: streams and waits go to async applications, everything else to WSGI threads."""

import os
from collections.abc import Callable

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "taskyard.server.settings")

from django.conf import settings
from django.core.wsgi import get_wsgi_application

from taskyard.server.bridge import ASGIApp, Bridge, Receive, Scope, Send

# Given a request, the async application that answers it, or None for the WSGI threads.
Choose = Callable[[Scope], ASGIApp | None]


def nothing_async(scope: Scope) -> ASGIApp | None:
    """Until there are streams and waits, every request is an ordinary one."""
    return None


class OnePort:
    def __init__(self, bridge: Bridge, *, choose: Choose) -> None:
        self._bridge = bridge
        self._choose = choose

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            await (self._choose(scope) or self._bridge)(scope, receive, send)
        else:
            await send({"type": "websocket.close"})

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await send({"type": "lifespan.startup.complete"})
            else:
                self._bridge.close()
                await send({"type": "lifespan.shutdown.complete"})
                return


application = OnePort(
    Bridge(
        get_wsgi_application(),
        threads=settings.TASKYARD_THREADS,
        max_body=settings.MAX_BODY_BYTES,
    ),
    choose=nothing_async,
)
