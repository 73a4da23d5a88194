"""The ASGI application that serves streams and waits in front of a project's own application.

Views name the live application that serves them (``paths.answered_by``). A live application calls
the project's application, so middleware, URLs and authentication are those of the project.
"""

import asyncio
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, Protocol

from taskyard.core.conf import conf
from taskyard.live.asgi import ASGIApp, Message, Receive, Scope, Send
from taskyard.live.hub import Hub
from taskyard.live.paths import live_applications


class Matching(Protocol):
    """A live application."""

    def matches(self, scope: Scope) -> bool: ...

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None: ...


class LiveApplication:
    """Sends a request to the first live application that matches it, or else to the project's."""

    def __init__(self, application: ASGIApp) -> None:
        self._application = application
        self._hub: Hub | None = None
        self._live: list[Matching] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        application = self._application
        if scope["type"] == "http":
            if self._hub is None:
                self._start()  # the server sends no lifespan events
            matching = (live for live in self._live if live.matches(scope))
            application = next(matching, application)
        elif scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
            return
        await application(scope, receive, send)

    def _start(self) -> None:
        hub = self._hub = Hub(conf().BROKER_URL)
        hub.start()
        call_on_stop_signal(hub.release_waiters)
        self._live = [live(hub, self._application) for live in live_applications()]

    async def _stop(self) -> None:
        if self._hub is not None:
            await self._hub.stop()

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Start and stop with the server; the project's application gets the events too."""
        was_received = False

        async def receive_and_follow() -> Message:
            nonlocal was_received
            message = await receive()
            was_received = True
            if message["type"] == "lifespan.startup":
                self._start()
            elif message["type"] == "lifespan.shutdown":
                await self._stop()
            return message

        try:
            await self._application(scope, receive_and_follow, send)
        except Exception:
            if was_received:
                raise
            # Django's own application refuses lifespans.
            for event in ("startup", "shutdown"):
                await receive_and_follow()
                await send({"type": f"lifespan.{event}.complete"})


def call_on_stop_signal(callback: Callable[[], None]) -> None:
    """Call it at once on SIGTERM and SIGINT, before the server waits for open responses."""
    if threading.current_thread() is not threading.main_thread():
        return
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        servers_handler: Any = signal.getsignal(number)

        def handle(
            number: int, frame: FrameType | None, servers_handler: Any = servers_handler
        ) -> None:
            loop.call_soon_threadsafe(callback)
            if callable(servers_handler):
                servers_handler(number, frame)

        signal.signal(number, handle)
