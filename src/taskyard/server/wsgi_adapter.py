"""From ASGI to Django's WSGI handler in a few threads, which keep their connections."""

import asyncio
import io
import logging
import sys
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from functools import partial
from typing import Any
from urllib.parse import unquote_to_bytes

from taskyard.core.database_errors import is_outage
from taskyard.server.logs import REQUEST
from taskyard.server.threads import FixedThreads, Threads, client_of

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]
WSGIApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
logger = logging.getLogger(__name__)


# In a scope, and in its environ: why the request is not to be answered as usual, and how many bytes
# its body would have had.
REFUSAL, SIZE = "taskyard.refusal", "taskyard.size"
BUSY, UNREAD = "busy", "unread"


class BodyTooLarge(Exception):
    pass


class ClientDisconnected(Exception):
    pass


class WSGIAdapter:
    """An ASGI application that answers from a WSGI one; `threads` requests at a time."""

    def __init__(
        self, wsgi: WSGIApp, *, threads: int, max_body: int, may_grow: bool = True
    ) -> None:
        self._wsgi = wsgi
        self._max_body = max_body
        self._threads = Threads(threads) if may_grow else FixedThreads(threads)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        departure: asyncio.Future[Message] | None = None

        async def deliver(message: Message) -> None:
            try:
                await send(message)
            except OSError:
                raise ClientDisconnected from None

        async def forward(message: Message) -> None:
            nonlocal departure
            departure = departure or asyncio.ensure_future(receive())
            if departure.done():
                raise ClientDisconnected
            await deliver(message)

        loop = asyncio.get_running_loop()

        def send_now(message: Message) -> None:
            asyncio.run_coroutine_threadsafe(forward(message), loop).result()

        try:
            limit = scope.get(SIZE, self._max_body)
            body = await read_body(scope, receive, limit=limit)
            address = scope["client"][0] if scope.get("client") else ""
            client = client_of(scope["headers"], address)
            whole = await self._threads.run(client, partial(self._answer, scope, body, send_now))
            # The ordinary answer is one piece and crosses the threads once.
            for message in whole:
                await deliver(message)
        except BodyTooLarge:
            await _too_large(send)
        except ClientDisconnected:
            return  # nobody is there to be answered
        except Exception as error:
            logger.exception("request failed")
            if departure is not None:
                raise  # an answer has begun
            await _failed(send, error)
        finally:
            if departure:
                departure.cancel()

    def _answer(
        self, scope: Scope, body: bytes, send_now: Callable[[Message], None]
    ) -> list[Message]:
        head: Message = {"type": "http.response.start"}

        def start_response(
            status: str, headers: list[tuple[str, str]], exc_info: object = None
        ) -> None:
            head["status"] = int(status[:3])
            head["headers"] = [
                (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers
            ]

        # Made here, for it takes as long as there are headers.
        response = self._wsgi(environ(scope, body), start_response)
        try:
            if not getattr(response, "streaming", False):
                whole = b"".join(response)
                if head["status"] not in (204, 304) and not _has_length(head):
                    head["headers"].append((b"content-length", str(len(whole)).encode()))
                return [head, {"type": "http.response.body", "body": whole}]
            send_now(head)
            for chunk in response:
                send_now({"type": "http.response.body", "body": chunk, "more_body": True})
            return [{"type": "http.response.body", "body": b""}]
        finally:
            # Django's request_finished hangs on it, and with it the health of kept connections.
            if close := getattr(response, "close", None):
                close()

    def close(self) -> None:
        self._threads.close()


class Body:
    """A request's body, read as far as somebody wants it, and given on as one piece."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._pieces: list[bytes] = []
        self._has_ended = False
        self._was_given = False
        self.size = 0
        self.is_whole = False

    @classmethod
    def none(cls) -> "Body":
        """For an application that is to answer without the body."""
        body = cls(_never)
        body.is_whole = True
        return body

    async def read(self, limit: int) -> None:
        """Read on until it is whole or has more than ``limit`` bytes. Raises ClientDisconnected."""
        while not self._has_ended and self.size <= limit:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnected
            piece = message.get("body", b"")
            self._pieces.append(piece)
            self.size += len(piece)
            self._has_ended = not message.get("more_body")
        self.is_whole = self._has_ended and self.size <= limit

    def joined(self) -> bytes:
        return self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)

    async def again(self) -> Message:
        """To be received instead: the whole body, then what comes from the client."""
        if self._was_given:
            return await self._receive()
        self._was_given = True
        return {"type": "http.request", "body": self.joined(), "more_body": False}


async def _never() -> Message:
    await asyncio.Event().wait()
    raise AssertionError


def declared_size(scope: Scope) -> int | None:
    """Bytes of the body as the headers say; None for a chunked one."""
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value)
        if name == b"transfer-encoding":
            return None
    return 0


async def read_body(scope: Scope, receive: Receive, *, limit: int) -> bytes:
    """The whole body, chunked or not. Raises BodyTooLarge at once, ClientDisconnected."""
    if (declared_size(scope) or 0) > limit:
        raise BodyTooLarge
    body = Body(receive)
    await body.read(limit)
    if not body.is_whole:
        raise BodyTooLarge
    return body.joined()


def environ(scope: Scope, body: bytes) -> dict[str, Any]:
    """The WSGI environ of a request (PEP 3333: text is latin-1 for bytes)."""
    root = scope.get("root_path", "")
    path = unquote_to_bytes(scope["raw_path"]).decode("latin-1")
    server = scope.get("server") or ("localhost", 80)
    found: dict[str, Any] = {
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
    if (asked := scope.get(REQUEST)) is not None:
        found[REQUEST] = asked
    repeated: dict[str, list[str]] = {}
    for raw_name, raw_value in scope["headers"]:
        if b"_" in raw_name:
            continue  # X_Forwarded_For would pass for X-Forwarded-For
        name = raw_name.decode("latin-1").upper().replace("-", "_")
        key = name if name in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{name}"
        value = raw_value.decode("latin-1")
        if key in found:
            repeated.setdefault(key, [found[key]]).append(value)
        else:
            found[key] = value
    for key, values in repeated.items():
        found[key] = ("; " if key == "HTTP_COOKIE" else ",").join(values)
    # A chunked body has no length of its own, and Django reads only what is declared.
    found["CONTENT_LENGTH"] = str(scope.get(SIZE, len(body)))
    if REFUSAL in scope:
        found[REFUSAL] = scope[REFUSAL]
    found.pop("HTTP_TRANSFER_ENCODING", None)
    return found


def _has_length(head: Message) -> bool:
    return any(name == b"content-length" for name, _ in head["headers"])


async def _too_large(send: Send) -> None:
    close = (b"connection", b"close")
    await _say(send, 413, b'{"detail":"Request body is too large."}', close)


async def _failed(send: Send, error: Exception) -> None:
    """Answer for what failed before or after all that answers errors."""
    if is_outage(error):
        body = b'{"detail":"The service is unavailable.","code":"unavailable"}'
        await _say(send, 503, body, (b"retry-after", b"5"))
    else:
        await _say(send, 500, b'{"detail":"An error of the server.","code":"error"}')


async def _say(send: Send, status: int, body: bytes, *headers: tuple[bytes, bytes]) -> None:
    always = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"x-content-type-options", b"nosniff"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": [*always, *headers]})
    await send({"type": "http.response.body", "body": body})
