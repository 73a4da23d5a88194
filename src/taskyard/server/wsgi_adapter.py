"""Run Django's WSGI handler under ASGI, in a few threads that keep their database connections."""

import asyncio
import io
import logging
import math
import sys
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, TypeVar
from urllib.parse import unquote_to_bytes

from django.db import close_old_connections

from taskyard.core.database_errors import is_outage
from taskyard.live.asgi import FROM_LIVE, Message, Receive, Response, Scope, Send
from taskyard.server.logs import REQUEST
from taskyard.server.threads import FixedThreads, Threads, client_key

WSGIApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
Result = TypeVar("Result")
logger = logging.getLogger(__name__)

# Keys of a scope and its environ: why the request is refused, and how many bytes its unread body
# has.
REFUSAL, SIZE = "taskyard.refusal", "taskyard.size"
BUSY, UNREAD = "busy", "unread"
OUTAGE = b'{"detail":"The service is unavailable.","code":"unavailable"}'
FAILURE = b'{"detail":"An error of the server.","code":"error"}'


class ClientDisconnected(Exception):
    """The client closed the connection before it had its response."""


class WSGIAdapter:
    """An ASGI application that calls a WSGI application in `threads` threads.

    With `may_grow` it uses more threads while requests wait (``server.threads``). Bodies are
    bounded before (``server.admission``).
    """

    def __init__(self, wsgi: WSGIApp, *, threads: int, may_grow: bool = True) -> None:
        self._wsgi = wsgi
        self._threads = Threads(threads) if may_grow else FixedThreads(threads)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        disconnect: asyncio.Future[Message] | None = None

        async def deliver(message: Message) -> None:
            try:
                await send(message)
            except OSError:
                raise ClientDisconnected from None

        async def deliver_if_connected(message: Message) -> None:
            nonlocal disconnect
            disconnect = disconnect or asyncio.ensure_future(receive())
            if disconnect.done():
                raise ClientDisconnected
            await deliver(message)

        loop = asyncio.get_running_loop()

        def send_now(message: Message) -> None:
            asyncio.run_coroutine_threadsafe(deliver_if_connected(message), loop).result()

        try:
            body = Body(receive)
            await body.read()
            call = partial(self._call_wsgi, scope, body.content(), send_now)
            # A response that is not streamed comes from the thread in one step.
            for message in await self._threads.run(_client(scope), call):
                await deliver(message)
        except ClientDisconnected:
            return
        except Exception as error:
            logger.exception("request failed")
            if disconnect is not None:
                raise  # a streamed response has begun
            await _failed(send, error)
        finally:
            if disconnect:
                disconnect.cancel()

    def _call_wsgi(
        self, scope: Scope, body: bytes, send_now: Callable[[Message], None]
    ) -> list[Message]:
        """Call the WSGI application in a thread; the messages that are still to be sent."""
        head: Message = {"type": "http.response.start"}

        def start_response(
            status: str, headers: list[tuple[str, str]], exc_info: object = None
        ) -> None:
            head["status"] = int(status[:3])
            head["headers"] = [
                (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers
            ]

        # The environ is built in this thread, because many headers take long.
        response = self._wsgi(environ(scope, body), start_response)
        try:
            if not getattr(response, "streaming", False):
                content = b"".join(response)
                if head["status"] not in (204, 304) and not _has_length(head):
                    head["headers"].append((b"content-length", str(len(content)).encode()))
                return [head, {"type": "http.response.body", "body": content}]
            send_now(head)
            for chunk in response:
                send_now({"type": "http.response.body", "body": chunk, "more_body": True})
            return [{"type": "http.response.body", "body": b""}]
        finally:
            # Django sends request_finished here, and its receivers check kept connections.
            if close := getattr(response, "close", None):
                close()

    async def run(self, scope: Scope, function: Callable[[], Result]) -> Result:
        """Call a function of a request that may use the database in one of the threads."""
        call = partial(_with_connection, function)
        result: Result = await self._threads.run(_client(scope), call)
        return result

    def close(self) -> None:
        self._threads.close()


class Body:
    """A request's body: read up to a limit, then replayed to another application in one piece."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._chunks: list[bytes] = []
        self._has_ended = False
        self._was_replayed = False
        self.size = 0
        self.is_whole = False

    async def read(self, limit: float = math.inf) -> None:
        """Read to the end, or until there are more than ``limit`` bytes.

        Raises ClientDisconnected.
        """
        while not self._has_ended and self.size <= limit:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnected
            chunk = message.get("body", b"")
            self._chunks.append(chunk)
            self.size += len(chunk)
            self._has_ended = not message.get("more_body")
        self.is_whole = self._has_ended and self.size <= limit

    def content(self) -> bytes:
        """The bytes that were read."""
        return self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)

    async def replay(self) -> Message:
        """An ASGI ``receive``: first the body that was read, then the client's messages."""
        if self._was_replayed:
            return await self._receive()
        self._was_replayed = True
        return {"type": "http.request", "body": self.content(), "more_body": False}


async def wait_for_ever() -> Message:
    """An ASGI ``receive`` of a client that sends nothing and stays."""
    await asyncio.Event().wait()
    raise AssertionError


def environ(scope: Scope, body: bytes) -> dict[str, Any]:
    """The WSGI environ of a request. PEP 3333: its strings are bytes decoded as latin-1."""
    root = scope.get("root_path", "")
    path = unquote_to_bytes(scope["raw_path"]).decode("latin-1")
    server = scope.get("server") or ("localhost", 80)
    env: dict[str, Any] = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": root.encode().decode("latin-1"),
        "PATH_INFO": path,
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_NAME": server[0],
        "SERVER_PORT": str(server[1]),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "REMOTE_ADDR": scope["client"][0] if scope.get("client") else "",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.get("scheme", "http"),
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    if (log_fields := scope.get(REQUEST)) is not None:
        env[REQUEST] = log_fields
    repeated: dict[str, list[str]] = {}
    for raw_name, raw_value in scope["headers"]:
        if b"_" in raw_name:
            continue  # else X_Forwarded_For would become X-Forwarded-For
        name = raw_name.decode("latin-1").upper().replace("-", "_")
        key = name if name in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{name}"
        value = raw_value.decode("latin-1")
        if key in env:
            repeated.setdefault(key, [env[key]]).append(value)
        else:
            env[key] = value
    for key, values in repeated.items():
        env[key] = ("; " if key == "HTTP_COOKIE" else ",").join(values)
    # A chunked body declares no length, and Django reads as much as is declared.
    env["CONTENT_LENGTH"] = str(scope.get(SIZE, len(body)))
    if REFUSAL in scope:
        env[REFUSAL] = scope[REFUSAL]
    if FROM_LIVE in scope:
        env[FROM_LIVE] = scope[FROM_LIVE]
    env.pop("HTTP_TRANSFER_ENCODING", None)
    return env


def _client(scope: Scope) -> bytes:
    address = scope["client"][0] if scope.get("client") else ""
    return client_key(scope["headers"], address)


def _with_connection(function: Callable[[], Result]) -> Result:
    """Call a function in a thread that keeps its connection."""
    close_old_connections()
    return function()


def _has_length(head: Message) -> bool:
    return any(name == b"content-length" for name, _ in head["headers"])


async def _failed(send: Send, error: Exception) -> None:
    """Send the response to an error that Django's own error handling did not catch."""
    outage = is_outage(error)
    headers = [(b"content-type", b"application/json"), (b"x-content-type-options", b"nosniff")]
    if outage:
        headers.append((b"retry-after", b"5"))
    response = Response(503 if outage else 500, headers, b"")
    await response.with_body(OUTAGE if outage else FAILURE).send_to(send)
