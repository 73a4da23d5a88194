"""What the async applications share: asking the ordinary application."""

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

# Headers of a request's body, and those that would make its answer a special one.
_OF_BODIES = (b"content-length", b"content-type", b"transfer-encoding", b"expect")
CONDITIONS = (b"if-none-match", b"if-modified-since", b"if-match", b"if-unmodified-since")


@dataclass(frozen=True)
class Response:
    """A whole answer of the ordinary application, before it is sent or replaced by another."""

    status: int
    headers: list[Header]
    body: bytes

    def header(self, name: bytes) -> bytes | None:
        return next((value for key, value in self.headers if key == name), None)

    @property
    def language(self) -> str:
        """That of its words; the default where it has none."""
        return (self.header(b"content-language") or settings.LANGUAGE_CODE.encode()).decode()

    def with_header(self, name: bytes, value: bytes) -> Self:
        return replace(self, headers=[*self.headers, (name, value)])

    def with_body(self, body: bytes) -> Self:
        kept = [header for header in self.headers if header[0] != b"content-length"]
        length = (b"content-length", str(len(body)).encode())
        return replace(self, headers=[*kept, length], body=body)

    async def send_to(self, send: Send) -> None:
        start = {"type": "http.response.start", "status": self.status, "headers": self.headers}
        # A client that has left is not answered.
        with suppress(OSError):
            await send(start)
            await send({"type": "http.response.body", "body": self.body})


async def call_app(app: ASGIApp, scope: Scope, receive: Receive) -> Response | None:
    """The answer of an application; None where the client left before there was one."""
    messages: list[Message] = []

    async def keep(message: Message) -> None:
        messages.append(message)

    await app(scope, receive, keep)
    if not messages:
        return None
    body = b"".join(message.get("body", b"") for message in messages[1:])
    return Response(messages[0]["status"], list(messages[0]["headers"]), body)


async def no_body() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


def get(scope: Scope, path: str | None = None, *, without: Iterable[bytes] = ()) -> Scope:
    """A request of our own for the same client, without a body: by default the same address."""
    dropped = (*_OF_BODIES, *without)
    headers = [header for header in scope["headers"] if header[0] not in dropped]
    found = {**scope, "method": "GET", "headers": headers}
    if path is not None:
        found |= {"path": path, "raw_path": path.encode(), "query_string": b""}
    return found


def header(scope: Scope, name: bytes) -> str | None:
    """A header of the request; None where it is not there. Given twice, joined as HTTP says."""
    found = [value for key, value in scope["headers"] if key == name]
    return b",".join(found).decode("latin-1") if found else None
