"""Server-sent events: an owner's tasks, or one of them, as they change. For whom, and in which
words, the rooms above say.

A stream reads for itself, from the position where it is: a hint only wakes it. So it misses
nothing, a slow client fills no queue, and an event's id is all that is needed to go on elsewhere.
"""

import asyncio
import re
import time
from abc import ABC, abstractmethod
from collections import Counter
from typing import Any

from django.db import DatabaseError, InterfaceError
from django.utils import translation

from taskyard.core.models import Task
from taskyard.core.states import TERMINAL
from taskyard.live import asgi, changes
from taskyard.live.asgi import ASGIApp, Receive, Response, Scope, Send
from taskyard.live.changes import Page, Position
from taskyard.live.hints import Hint
from taskyard.live.hub import Hub

MOST_STREAMS = 50
PING_SECONDS = 15.0
AUTHORIZE_SECONDS = 60.0
SEND_SECONDS = 30.0
OUTAGE_PAUSE_SECONDS = 1.0
RETRY_MILLISECONDS = 2000
PIECE_BYTES = 64 * 1024
KEPT = (
    b"x-request-id",
    b"x-content-type-options",
    b"x-frame-options",
    b"referrer-policy",
    b"content-security-policy",
    b"strict-transport-security",
    b"access-control-allow-origin",
    b"access-control-expose-headers",
    b"vary",
)
STREAM_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"x-accel-buffering", b"no"),
]
LINE_ENDS = {letter.encode(): b"\\u%04x" % ord(letter) for letter in "\u0085\u2028\u2029"}
# What the ordinary application answers where a stream may be had: only not from there.
STREAM_ALLOWED = 406


class TooManyStreams(Exception):
    """The owner has as many streams open as one may have."""


StreamError = TooManyStreams | DatabaseError | InterfaceError


class SSEEndpoint(ABC):
    """The streams under the addresses that ``address`` matches; its first group is a task's id."""

    address: re.Pattern[str]

    def __init__(self, hub: Hub, wsgi_app: ASGIApp) -> None:
        self._hub = hub
        self._wsgi_app = wsgi_app
        self._open: Counter[int] = Counter()

    @abstractmethod
    def authenticate(self, scope: Scope, response: Response) -> tuple[int, float] | None:
        """Whose stream it is, and until when, in seconds of the epoch; None: nobody's.

        Whether the user is still there and active, the ordinary application has found out; it is
        asked again every ``AUTHORIZE_SECONDS``.
        """

    @abstractmethod
    def serialize(self, task: Task, scope: Scope) -> bytes:
        """A task as an event's data, in the current language."""

    @abstractmethod
    def error_response(self, failure: StreamError, scope: Scope) -> Response:
        """What is said of a failure, in the current language."""

    def position(self, scope: Scope) -> str:
        """From where a client goes on; empty where it begins."""
        return asgi.header(scope, b"last-event-id") or ""

    def reports_hub_state(self) -> bool:
        """Whether the client is told when hints are away."""
        return False

    async def still_authorized(self, scope: Scope) -> bool:
        """Whether the ordinary application still lets the holder in. An outage is no refusal."""
        response = await asgi.call_app(
            self._wsgi_app, asgi.get_scope(scope), asgi.receive_empty_body
        )
        return response is None or response.status == STREAM_ALLOWED or response.status >= 500

    def matches(self, scope: Scope) -> bool:
        """Whether a request is for a stream."""
        is_read = scope["method"] in ("GET", "HEAD")
        return is_read and self.address.fullmatch(scope["path"]) is not None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await asgi.call_app(
            self._wsgi_app, asgi.get_scope(scope), asgi.receive_empty_body
        )
        streams = response is not None and response.status == STREAM_ALLOWED
        owner = self.authenticate(scope, response) if response is not None and streams else None
        if response is None or owner is None:
            if response is not None:
                await response.send_to(send)
            return
        if scope["method"] == "HEAD":
            await Response(200, [*_kept_headers(response), *STREAM_HEADERS], b"").send_to(send)
            return
        owner_id, expires_at = owner
        if self._open[owner_id] >= MOST_STREAMS:
            await self._refused(TooManyStreams(), scope, response).send_to(send)
            return
        self._open[owner_id] += 1
        try:
            await self._stream(scope, receive, send, owner_id, expires_at, response)
        finally:
            self._open[owner_id] -= 1
            if not self._open[owner_id]:
                del self._open[owner_id]

    async def _stream(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        owner_id: int,
        expires_at: float,
        response: Response,
    ) -> None:
        address = self.address.fullmatch(scope["path"])
        task_id = int(address[1]) if address and address.lastindex else None
        position = Position.parse(self.position(scope))
        stream = SSEConnection(
            self, self._hub, scope, send, owner_id, task_id, response.language, expires_at
        )
        async with self._hub.listen(owner_id, stream.on_hint, stream.has_seen):
            try:
                page = await self._hub.read(changes.resume, owner_id, position, task_id)
                over = position is not None and not page.tasks and await stream.has_ended()
            except (DatabaseError, InterfaceError) as error:
                await self._refused(error, scope, response).send_to(send)
                return
            if over:
                # To a browser this says: do not connect again (WHATWG HTML, 9.2).
                await Response(204, _kept_headers(response), b"").send_to(send)
                return
            watching = asyncio.ensure_future(_watch_disconnect(receive, stream))
            try:
                await stream.run(page, _kept_headers(response))
            except OSError:
                pass  # the client left
            except TimeoutError:
                _cut(send)
            finally:
                watching.cancel()

    def _refused(self, failure: StreamError, scope: Scope, response: Response) -> Response:
        with translation.override(response.language):
            error = self.error_response(failure, scope)
        return Response(error.status, [*error.headers, *_kept_headers(response)], error.body)


class SSEConnection:
    """One open stream. ``run`` returns when it is over, for whatever reason."""

    def __init__(
        self,
        kind: SSEEndpoint,
        hub: Hub,
        scope: Scope,
        send: Send,
        owner_id: int,
        task_id: int | None,
        language: str,
        expires_at: float,
    ) -> None:
        self._kind = kind
        self._hub = hub
        self._reported_hub_state: bool | None = None
        self._scope = scope
        self._send = send
        self._owner_id = owner_id
        self._task_id = task_id
        self._language = language
        self._ends_at = _clock() + expires_at - time.time()
        self._ping_at = _clock() + PING_SECONDS
        self._authorize_at = _clock() + AUTHORIZE_SECONDS
        self._news = asyncio.Event()
        self._last: dict[int, int] = {}
        self._read_to = ""
        self._disconnected = False
        self._ended = False

    def on_hint(self, hint: Hint) -> None:
        if hint is None or self._task_id is None or self._task_id in hint:
            self._news.set()

    def has_seen(self, change: int) -> bool:
        return self._read_to != "" and changes.shows(self._read_to, change)

    def disconnect(self) -> None:
        self._disconnected = True
        self._news.set()

    async def has_ended(self) -> bool:
        """Whether this is the stream of one task, and that is in a terminal state."""
        if self._task_id is None:
            return False
        page = await self._hub.read(changes.read, self._owner_id, Position(), self._task_id)
        return all(task.status in TERMINAL for task in page.tasks)

    async def run(self, page: Page, headers: list[asgi.Header]) -> None:
        """Raises OSError when the client has left, TimeoutError when it reads nothing."""
        headers = [*headers, *STREAM_HEADERS]
        await self._say({"type": "http.response.start", "status": 200, "headers": headers})
        first = f"retry: {RETRY_MILLISECONDS}\n".encode()
        if not page.tasks:
            # An id without an event: a client that is cut now misses nothing either.
            first += f"id: {page.after}\n\n".encode()
        await self._write(first)
        while True:
            self._read_to = page.after.since
            await self._deliver(page)
            if page.is_last and not await self._more():
                break
            self._news.clear()
            page = await self._next(page)
        await self._say({"type": "http.response.body", "body": b""})

    async def _deliver(self, page: Page) -> None:
        events = [(task.pk, body) for task in page.tasks if (body := self._body(task)) is not None]
        piece = b""
        for number, (task_id, body) in enumerate(events, start=1):
            at = page.after if number == len(events) else page.position_at(task_id)
            piece += b"event: task\nid: %b\ndata: %b\n\n" % (str(at).encode(), one_line(body))
            if len(piece) > PIECE_BYTES:
                await self._write(piece)
                piece = b""
        if piece:
            await self._write(piece)

    def _body(self, task: Any) -> bytes | None:
        """The task as the API represents it; None where that is what was said last."""
        with translation.override(self._language):
            body = self._kind.serialize(task, self._scope)
        known = hash(body)
        if self._last.get(task.pk) == known:
            return None
        self._last[task.pk] = known
        if task.status in TERMINAL:
            del self._last[task.pk]
            self._ended = self._task_id is not None
        return body

    async def _more(self) -> bool:
        """Wait for news; False when the stream is over."""
        while not (self._ended or self._disconnected or self._hub.stopping):
            if (
                self._kind.reports_hub_state()
                and self._hub.receives_hints != self._reported_hub_state
            ):
                self._reported_hub_state = self._hub.receives_hints
                await self._write(b"event: hints\ndata: %b\n\n" % _word(self._hub.receives_hints))
            if _clock() >= self._ends_at or not await self._is_authorized():
                return False
            if self._news.is_set():
                return True
            try:
                async with asyncio.timeout_at(min(self._ping_at, self._ends_at)):
                    await self._news.wait()
            except TimeoutError:
                if _clock() >= self._ends_at:
                    continue
                self._ping_at = _clock() + PING_SECONDS
                await self._write(b":\n\n")
        return False

    async def _is_authorized(self) -> bool:
        if _clock() < self._authorize_at:
            return True
        self._authorize_at = _clock() + AUTHORIZE_SECONDS
        return await self._kind.still_authorized(self._scope)

    async def _next(self, page: Page) -> Page:
        try:
            return await self._hub.read(changes.read, self._owner_id, page.after, self._task_id)
        except (DatabaseError, InterfaceError):
            # The position stays; what cannot be read now is read when the database is back.
            await asyncio.sleep(OUTAGE_PAUSE_SECONDS)
            self._news.set()
            return Page([], page.before, page.after)

    async def _write(self, piece: bytes) -> None:
        await self._say({"type": "http.response.body", "body": piece, "more_body": True})

    async def _say(self, message: asgi.Message) -> None:
        async with asyncio.timeout(SEND_SECONDS):
            await self._send(message)


def one_line(body: bytes) -> bytes:
    """JSON without what many clients take for the end of a line.

    JSON escapes U+000A and U+000D itself. These three may stand in its strings as they are, and
    only there.
    """
    for raw, escaped in LINE_ENDS.items():
        if raw in body:
            body = body.replace(raw, escaped)
    return body


async def _watch_disconnect(receive: Receive, stream: SSEConnection) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    stream.disconnect()


def _cut(send: Send) -> None:
    """End a connection whose client reads nothing. ASGI has no word for it; servers' objects do."""
    transport = getattr(getattr(send, "__self__", None), "transport", None)
    if transport is not None:
        transport.abort()


def _clock() -> float:
    return asyncio.get_running_loop().time()


def _kept_headers(response: Response) -> list[asgi.Header]:
    """Of the ordinary answer's headers those that are the stream's too."""
    kept = [header for header in response.headers if header[0] in KEPT]
    return [*kept, (b"cache-control", b"no-store")]


def _word(here: bool) -> bytes:
    return b"here" if here else b"away"
