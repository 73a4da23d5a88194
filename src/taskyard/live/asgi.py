"""The ASGI types, and how an async application calls the WSGI application behind it."""

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Self

from django.conf import settings

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]
Header = tuple[bytes, bytes]

_BODY_HEADERS = (b"content-length", b"content-type", b"transfer-encoding", b"expect")
# A key of a scope and of its WSGI environ: an SSE endpoint calls the view to learn whether the
# client may have the stream. No client can set it: the key of a header begins with HTTP_.
SSE_CHECK = "taskyard.sse"
# With one of these the response may be a 304 or a 412 without the resource.
CONDITIONAL_HEADERS = (b"if-none-match", b"if-modified-since", b"if-match", b"if-unmodified-since")


@dataclass(frozen=True)
class Response:
    """A whole response of an application, before it is sent or replaced."""

    status: int
    headers: list[Header]
    body: bytes

    def header(self, name: bytes) -> bytes | None:
        return next((value for key, value in self.headers if key == name), None)

    @property
    def language(self) -> str:
        """The language of the body: Content-Language, or else the default language."""
        return (self.header(b"content-language") or settings.LANGUAGE_CODE.encode()).decode()

    def with_header(self, name: bytes, value: bytes) -> Self:
        return replace(self, headers=[*self.headers, (name, value)])

    def with_body(self, body: bytes) -> Self:
        other_headers = [header for header in self.headers if header[0] != b"content-length"]
        length = (b"content-length", str(len(body)).encode())
        return replace(self, headers=[*other_headers, length], body=body)

    async def send_to(self, send: Send) -> None:
        start = {"type": "http.response.start", "status": self.status, "headers": self.headers}
        with suppress(OSError):  # the client has disconnected
            await send(start)
            await send({"type": "http.response.body", "body": self.body})


async def call_app(app: ASGIApp, scope: Scope, receive: Receive) -> Response | None:
    """The response of an application; None if the client disconnected before there was one."""
    messages: list[Message] = []

    async def collect(message: Message) -> None:
        messages.append(message)

    await app(scope, receive, collect)
    if not messages:
        return None
    body = b"".join(message.get("body", b"") for message in messages[1:])
    return Response(messages[0]["status"], list(messages[0]["headers"]), body)


async def receive_empty_body() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


def get_scope(scope: Scope, *, without: Iterable[bytes] = ()) -> Scope:
    """The scope of a GET of the same path for the same client, ``without`` these headers."""
    dropped = (*_BODY_HEADERS, *without)
    headers = [header for header in scope["headers"] if header[0] not in dropped]
    return {**scope, "method": "GET", "headers": headers}


def header(scope: Scope, name: bytes) -> str | None:
    """A header of the request, or None. Repeated headers are joined by commas (RFC 9110, 5.3)."""
    values = [value for key, value in scope["headers"] if key == name]
    return b",".join(values).decode("latin-1") if values else None
