"""The ASGI types, and how a live application calls the application behind it."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Self
from urllib.parse import quote, unquote

from django.conf import settings
from django.contrib.auth import get_user_model
from django.http import HttpRequest

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]
Header = tuple[bytes, bytes]

_BODY_HEADERS = (b"content-length", b"content-type", b"transfer-encoding", b"expect")
# A key of a scope and of its WSGI environ: a live application calls the view, which then names the
# owner in headers. No client can set it: the key of a header begins with HTTP_. Its value is what
# the application tells the view, and what the view tells it (``call_of``).
FROM_LIVE = "taskyard.live"
OWNER, EXPIRES = b"x-taskyard-owner", b"x-taskyard-expires"
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

    @property
    def owner(self) -> tuple[Any, float] | None:
        """The owner's id and the Unix time at which the credentials expire, if the view says so."""
        owner = self.header(OWNER)
        if owner is None:
            return None
        owner_id = get_user_model()._meta.pk.to_python(unquote(owner.decode()))
        return owner_id, float(self.header(EXPIRES) or math.inf)

    def for_client(self) -> Self:
        """The response without the headers that are for live applications."""
        headers = [header for header in self.headers if header[0] not in (OWNER, EXPIRES)]
        return replace(self, headers=headers)

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


async def wait_for_disconnect(receive: Receive) -> None:
    """Receive until the client disconnects."""
    while (await receive())["type"] != "http.disconnect":
        pass


def abort_connection(send: Send) -> None:
    """Abort a connection whose client does not read. ASGI has no message for it, but uvicorn's
    ``send`` is a method of an object that has the transport."""
    transport = getattr(getattr(send, "__self__", None), "transport", None)
    if transport is not None:
        transport.abort()


async def call_app(app: ASGIApp, scope: Scope, receive: Receive) -> Response | None:
    """The response of an application; None if the client disconnected before there was one."""
    messages: list[Message] = []

    async def collect(message: Message) -> None:
        messages.append(message)

    await app(scope, receive, collect)
    if not messages:
        return None
    body = b"".join(message.get("body", b"") for message in messages[1:])
    headers = [(name.lower(), value) for name, value in messages[0]["headers"]]
    return Response(messages[0]["status"], headers, body)


def empty_body() -> Receive:
    """The ``receive`` of a request with an empty body, whose client stays connected."""
    was_received = False

    async def receive() -> Message:
        nonlocal was_received
        if was_received:
            await asyncio.Event().wait()
        was_received = True
        return {"type": "http.request", "body": b"", "more_body": False}

    return receive


def owner_headers(owner_id: object, expires_at: float = math.inf) -> dict[str, str]:
    """The headers with which a view names the owner to a live application."""
    return {OWNER.decode(): quote(str(owner_id)), EXPIRES.decode(): repr(expires_at)}


def is_from_live(request: HttpRequest) -> bool:
    """Whether a live application calls the view, not a client."""
    return FROM_LIVE in request.META or FROM_LIVE in getattr(request, "scope", ())


def call_of(request: HttpRequest) -> Any:
    """What a live application has put under ``FROM_LIVE``; None if a client calls the view."""
    call = request.META.get(FROM_LIVE)
    return getattr(request, "scope", {}).get(FROM_LIVE) if call is None else call


def declared_size(scope: Scope) -> int | None:
    """The size of the body in bytes by Content-Length; None for a chunked body."""
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value)
        if name == b"transfer-encoding":
            return None
    return 0


def path_info(scope: Scope) -> str:
    """The path below SCRIPT_NAME, as Django's ASGIRequest computes it."""
    script_name = settings.FORCE_SCRIPT_NAME or scope.get("root_path", "")
    path: str = scope["path"]
    return path.removeprefix(script_name)


def get_scope(scope: Scope, *, without: Iterable[bytes] = ()) -> Scope:
    """The scope of a GET of the same path for the same client, ``without`` these headers."""
    return {**without_headers(scope, (*_BODY_HEADERS, *without)), "method": "GET"}


def without_headers(scope: Scope, names: Iterable[bytes]) -> Scope:
    dropped = frozenset(names)
    headers = [header for header in scope["headers"] if header[0] not in dropped]
    return {**scope, "headers": headers}


def header(scope: Scope, name: bytes) -> str | None:
    """A header of the request, or None. Repeated headers are joined by commas (RFC 9110, 5.3)."""
    values = [value for key, value in scope["headers"] if key == name]
    return b",".join(values).decode("latin-1") if values else None
