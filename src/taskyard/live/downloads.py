"""Downloads: a view answers with the headers, then its bytes are streamed without a thread each.

A view marked with ``sends_files`` answers GET with ``send(request, response, stream, size)``. The
live application ``Download`` calls it first, through the project's middleware, authentication and
permissions, and then reads the stream in threads, in bounded memory, as fast as the client takes
the bytes. Without ``taskyard.live.with_streams`` the view's own thread sends them.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import BinaryIO

from django.http import HttpRequest, StreamingHttpResponse
from django.http.response import HttpResponseBase

from taskyard.live import asgi
from taskyard.live.asgi import ASGIApp, Receive, Response, Scope, Send
from taskyard.live.hub import Hub
from taskyard.live.paths import MarkedView, ViewPaths, answered_by, application_of

THREADS = 4
STEP_BYTES = 2**20
LEAST_STEP_BYTES = 64 * 1024
MOST_BYTES = 32 * 2**20
# A client that takes no bytes for so long is cut, if the server has not done so before.
SEND_SECONDS = 120.0
logger = logging.getLogger(__name__)


@dataclass
class Outgoing:
    """A call of a view by ``Download``; the view sets the stream and how much to send."""

    stream: BinaryIO | None = None
    size: int = 0


def sends_files(view: MarkedView) -> MarkedView:
    """Decorate a view, a function or a class: what it sends is streamed."""
    return answered_by(Download)(view)


def send(
    request: HttpRequest, response: HttpResponseBase, stream: BinaryIO, size: int
) -> HttpResponseBase:
    """Send ``size`` bytes of a stream as the body; closes it. A marked view returns the result.

    The response has no body and all headers but Content-Length.
    """
    response.headers["Content-Length"] = str(size)
    call = asgi.call_of(request)
    if isinstance(call, Outgoing):
        call.stream, call.size = stream, size
        return response
    if request.method == "HEAD":
        stream.close()
        return response
    return StreamingHttpResponse(
        _Pieces(stream, size), status=response.status_code, headers=dict(response.items())
    )


class _Pieces:
    """The first ``size`` bytes of a stream. Django closes it with the response."""

    def __init__(self, stream: BinaryIO, size: int) -> None:
        self.close = stream.close
        self._stream = stream
        self._left = size

    def __iter__(self) -> Iterator[bytes]:
        while self._left and (data := self._stream.read(min(STEP_BYTES, self._left))):
            self._left -= len(data)
            yield data


class Download:
    """Serves the views that ``sends_files`` marks."""

    def __init__(self, hub: Hub, app: ASGIApp) -> None:
        self._app = app
        self._paths = ViewPaths(lambda view: application_of(view) is Download)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="download")
        self._open = 0

    def matches(self, scope: Scope) -> bool:
        """Whether a request is a download."""
        is_read = scope["method"] in ("GET", "HEAD")
        return is_read and self._paths.match(asgi.path_info(scope)) is not None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        outgoing = Outgoing()
        # Not compressed by a middleware, which has no body to compress.
        inner = asgi.without_headers(scope, (b"accept-encoding",))
        inner = {**inner, asgi.FROM_LIVE: outgoing}
        response = await asgi.call_app(self._app, inner, asgi.empty_body())
        stream = outgoing.stream
        try:
            if response is None:
                return
            response = response.for_client()
            if stream is None or response.status not in (200, 206) or scope["method"] == "HEAD":
                await response.send_to(send)
                return
            self._open += 1
            try:
                await self._stream(response, stream, outgoing.size, receive, send)
            finally:
                self._open -= 1
        finally:
            if stream is not None:
                await self._run(stream.close)

    async def _stream(
        self, response: Response, stream: BinaryIO, size: int, receive: Receive, send: Send
    ) -> None:
        gone = asyncio.ensure_future(asgi.wait_for_disconnect(receive))
        reading: asyncio.Future[bytes] | None = None

        def read_next() -> "asyncio.Future[bytes] | None":
            step = max(LEAST_STEP_BYTES, min(STEP_BYTES, MOST_BYTES // self._open))
            return (
                asyncio.ensure_future(self._run(lambda: stream.read(min(step, size))))
                if size
                else None
            )

        try:
            reading = read_next()
            headers = {"type": "http.response.start", "status": response.status}
            await send({**headers, "headers": response.headers})
            while reading is not None:
                data = await reading
                if not data or gone.done():
                    return  # the server closes the connection, because the body is not whole
                size -= len(data)
                # The next bytes are read while these are sent.
                reading = read_next()
                async with asyncio.timeout(SEND_SECONDS):
                    await send({"type": "http.response.body", "body": data, "more_body": size > 0})
            if response.header(b"content-length") == b"0":
                await send({"type": "http.response.body", "body": b""})
        except TimeoutError:
            asgi.abort_connection(send)
        except Exception as error:  # each storage has errors of its own
            if not gone.done():
                logger.error("download failed", exc_info=error)
                asgi.abort_connection(send)
        finally:
            gone.cancel()
            if reading is not None and not reading.done():
                await asyncio.wait({reading})
            if reading is not None:
                reading.exception()

    async def _run(self, function: Callable[[], bytes | None]) -> bytes:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function) or b""
