"""Uploads: a view decides by the headers, then the body is streamed to what the view has named.

A view marked with ``takes_uploads("POST")`` answers with ``receive(request, receiver)``. The live
application ``Upload`` calls it without the body, through the project's middleware, authentication
and permissions. If the view answers so, the body is streamed to the receiver's ``write`` in threads
and in bounded memory, and the receiver makes the response; any other answer of the view is sent at
once, and the body stays unread. The view itself is not called again: a token may expire while a
large body arrives.

A client that is slow holds a coroutine and no thread. The server must cut one that sends nothing,
as ours does; else it is cut after ``SILENCE_SECONDS``. Without ``taskyard.live.with_streams`` the
same view reads the body in its own thread.

For a page: the CSRF token must come in the header X-CSRFToken, because the view has no form data.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from http import HTTPStatus
from typing import Any, Protocol, TypeVar

from django.db import connection
from django.http import HttpRequest, HttpResponse, UnreadablePostError
from django.utils import translation

from taskyard.live import asgi
from taskyard.live.asgi import ASGIApp, Receive, Response, Scope, Send
from taskyard.live.hub import Hub
from taskyard.live.paths import MarkedView, View, ViewPaths, answered_by

THREADS = 4
# What is written in one step. With many uploads at once the steps are smaller, so that all of them
# hold about MOST_BYTES.
STEP_BYTES = 2**20
LEAST_STEP_BYTES = 64 * 1024
MOST_BYTES = 32 * 2**20
# A slow client's bytes are written after so long, though they are no full step.
STEP_SECONDS = 5.0
SILENCE_SECONDS = 120.0
_BODY_HEADERS = (b"content-length", b"transfer-encoding", b"expect")
Result = TypeVar("Result")
logger = logging.getLogger(__name__)


class Receiver(Protocol):
    """Takes the body of one upload; called from one thread at a time. ``write`` may raise any
    exception, to which ``refuse`` makes the response."""

    def write(self, data: bytes) -> None: ...

    def complete(self) -> HttpResponse:
        """The whole body was written: the response. May raise as ``write`` does."""

    def refuse(self, error: Exception) -> HttpResponse:
        """Clean up after an error of ``write`` or ``complete``: the response."""

    def cut(self) -> None:
        """Clean up: the client has disconnected, or the project refuses the request after all."""


class ClientDisconnected(Exception):
    """The client closed the connection before its body was whole."""


class Silent(Exception):
    """The client has sent nothing for ``SILENCE_SECONDS``."""


@dataclass
class Incoming:
    """A call of a view by ``Upload``; ``size`` is the declared one, None for a chunked body."""

    size: int | None
    receiver: Receiver | None = None


def takes_uploads(*methods: str) -> Callable[[MarkedView], MarkedView]:
    """Decorate a view, a function or a class: the bodies of these methods are streamed."""

    def mark(view: MarkedView) -> MarkedView:
        marked: Any = view
        marked.upload_methods = methods
        return answered_by(Upload)(view)

    return mark


def body_size(request: HttpRequest) -> int | None:
    """The declared size of the body in bytes; None for a chunked body."""
    call = asgi.call_of(request)
    if isinstance(call, Incoming):
        return call.size
    if request.META.get("HTTP_TRANSFER_ENCODING"):
        return None
    try:
        return int(request.META.get("CONTENT_LENGTH") or 0)
    except ValueError:
        return 0


def receive(request: HttpRequest, receiver: Receiver) -> HttpResponse:
    """Stream the body to this receiver; a marked view returns what this function returns."""
    call = asgi.call_of(request)
    if isinstance(call, Incoming):
        call.receiver = receiver
        return HttpResponse()
    try:
        for data in _body(request):
            receiver.write(data)
        return receiver.complete()
    except UnreadablePostError:
        receiver.cut()
        raise
    except Exception as error:
        return receiver.refuse(error)


def _body(request: HttpRequest) -> Iterator[bytes]:
    """The body in pieces, read in this thread."""
    stream: Any = request
    if body_size(request) is None and request.META.get("wsgi.input_terminated"):
        stream = request.META["wsgi.input"]  # Django reads only as much as is declared
    while data := stream.read(STEP_BYTES):
        yield data


class Upload:
    """Serves the methods that ``takes_uploads`` names."""

    def __init__(self, hub: Hub, app: ASGIApp) -> None:
        self._app = app
        self._paths: dict[str, ViewPaths] = {}
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="upload")
        self._open = 0

    def matches(self, scope: Scope) -> bool:
        """Whether a request is an upload."""
        method = scope["method"]
        if method not in ("POST", "PUT", "PATCH"):
            return False
        if method not in self._paths:
            self._paths[method] = ViewPaths(lambda view: method in _methods_of(view))
        return self._paths[method].match(asgi.path_info(scope)) is not None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        incoming = Incoming(asgi.declared_size(scope))
        inner = {**asgi.without_headers(scope, _BODY_HEADERS), asgi.FROM_LIVE: incoming}
        first = await asgi.call_app(self._app, inner, asgi.empty_body())
        if first is None:
            return
        receiver = incoming.receiver
        if receiver is None or first.status != 200:
            if receiver is not None:
                await self._run(lambda: _cut(receiver))
            refusal = first.for_client()
            await (_unread(refusal, scope) if incoming.size != 0 else refusal).send_to(send)
            return
        self._open += 1
        try:
            response = await self._receive(scope, receive, receiver, first)
        finally:
            self._open -= 1
        if response is not None:
            await response.send_to(send)

    async def _receive(
        self, scope: Scope, receive: Receive, receiver: Receiver, first: Response
    ) -> Response | None:
        """The response when the body has been received; None if the client has disconnected."""
        body = _Body(receive)

        async def respond(make: Callable[[], HttpResponse]) -> HttpResponse:
            return await self._run(lambda: _in_language(first.language, make))

        try:
            await self._write(body, receiver)
            last = await respond(receiver.complete)
        except (ClientDisconnected, asyncio.CancelledError) as error:
            await self._run(lambda: _cut(receiver))
            if isinstance(error, asyncio.CancelledError):
                raise
            return None
        except Silent:
            await self._run(lambda: _cut(receiver))
            return _unread(Response(408, [], b"").with_body(b""), scope)
        except Exception as error:
            refused = error
            last = await respond(lambda: receiver.refuse(refused))
        response = _final(last, first)
        return response if body.is_whole else _unread(response, scope)

    async def _write(self, body: "_Body", receiver: Receiver) -> None:
        """Pass the body to the receiver; the next bytes arrive while others are written.

        Raises ClientDisconnected, Silent, and what ``write`` raises.
        """
        writing: asyncio.Future[None] | None = None
        try:
            while not body.is_whole:
                parts = await body.read(self._step_bytes())
                if writing is not None:
                    await asyncio.shield(writing)
                writing = asyncio.ensure_future(self._run(partial(_write, receiver, parts)))
            if writing is not None:
                await asyncio.shield(writing)
        finally:
            if writing is not None and not writing.done():
                await asyncio.wait({writing})
                writing.exception()  # another error has ended the upload

    async def _run(self, function: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(
            self._threads, lambda: _with_connection(function)
        )

    def _step_bytes(self) -> int:
        return max(LEAST_STEP_BYTES, min(STEP_BYTES, MOST_BYTES // max(self._open, 1)))


class _Body:
    """The body of an upload, read in steps."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.is_whole = False

    async def read(self, size: int) -> list[bytes]:
        """About ``size`` bytes, fewer at the end and of a slow client.

        Raises ClientDisconnected, Silent.
        """
        parts: list[bytes] = []
        loop = asyncio.get_running_loop()
        until = loop.time() + STEP_SECONDS
        try:
            async with asyncio.timeout(SILENCE_SECONDS):
                while size > 0 and not self.is_whole and loop.time() < until:
                    message = await self._receive()
                    if message["type"] == "http.disconnect":
                        raise ClientDisconnected
                    data = message.get("body", b"")
                    parts.append(data)
                    size -= len(data)
                    self.is_whole = not message.get("more_body")
        except TimeoutError:
            raise Silent from None
        return parts


def _write(receiver: Receiver, parts: list[bytes]) -> None:
    receiver.write(parts[0] if len(parts) == 1 else b"".join(parts))


def _cut(receiver: Receiver) -> None:
    try:
        receiver.cut()
    except Exception:
        logger.exception("upload not cleaned up")


def _methods_of(view: View) -> tuple[str, ...]:
    methods: tuple[str, ...] = getattr(view, "upload_methods", ())
    return methods


def _in_language(language: str, respond: Callable[[], HttpResponse]) -> HttpResponse:
    with translation.override(language):
        return respond()


def _with_connection(function: Callable[[], Result]) -> Result:
    """Call a function that may use the database in a thread that keeps its connection."""
    connection.close_if_unusable_or_obsolete()
    return function()


def _final(response: HttpResponse, first: Response) -> Response:
    """The receiver's response, with the headers that the project has added to the view's."""
    headers = [
        (name.lower().encode("latin-1"), value.encode("latin-1"))
        for name, value in response.items()
    ]
    headers += [
        (b"set-cookie", cookie.OutputString().encode("latin-1"))
        for cookie in response.cookies.values()
    ]
    own = {name for name, _ in headers} - {b"set-cookie"} | {b"content-length", b"content-type"}
    headers += [header for header in first.for_client().headers if header[0] not in own]
    whole = Response(response.status_code, headers, b"")
    if whole.status == HTTPStatus.NO_CONTENT:
        kept = [header for header in headers if header[0] != b"content-type"]
        return replace(whole, headers=kept)
    return whole.with_body(response.content)


def _unread(response: Response, scope: Scope) -> Response:
    """The response to a request whose body was not read to its end: it ends the connection."""
    if scope.get("http_version", "1.1").startswith("1"):
        return response.with_header(b"connection", b"close")
    return response
