"""Server-sent events for the changes of an owner's tasks, or of one task.

A subclass of ``SSEEndpoint`` authenticates requests and serializes tasks. A view that ``sse_view``
marks names its subclass, so the streams' paths are those of the marked views. The endpoint calls
the view before it streams (``asgi.FROM_LIVE``), and the view responds with an empty 200 if the
client may have the stream. A client that reaches the view itself gets a 406.

A stream reads the database from its own position, and a hint only wakes it. So a stream misses no
change and a slow client needs no queue; an event's id is a position, from which any web process can
continue.
"""

import asyncio
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, TypeVar

from django.db import DatabaseError, InterfaceError
from django.http import HttpRequest
from django.utils import translation

from taskyard.core.hints import Hint
from taskyard.core.models import Task
from taskyard.core.states import TERMINAL
from taskyard.live import asgi, changes
from taskyard.live.asgi import ASGIApp, Receive, Response, Scope, Send
from taskyard.live.changes import ChangedTasks, Position
from taskyard.live.hub import Hub
from taskyard.live.paths import View, ViewPaths, answered_by, application_of

MarkedView = TypeVar("MarkedView", bound=View)
MOST_STREAMS = 50
PING_SECONDS = 15.0
AUTHORIZE_SECONDS = 60.0
SEND_SECONDS = 30.0
OUTAGE_PAUSE_SECONDS = 1.0
RETRY_MILLISECONDS = 2000
CHUNK_BYTES = 64 * 1024
KEPT_HEADERS = (
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
ReadPage = Callable[..., ChangedTasks]


class TooManyStreams(Exception):
    """The owner has ``MOST_STREAMS`` open streams."""


StreamError = TooManyStreams | DatabaseError | InterfaceError


class SSEEndpoint(ABC):
    """Serves the streams of the views that name it."""

    def __init__(self, hub: Hub, app: ASGIApp) -> None:
        self._hub = hub
        self._app = app
        self._open: Counter[int] = Counter()
        self._paths = ViewPaths(lambda view: application_of(view) is type(self))

    def authenticate(self, scope: Scope, response: Response) -> tuple[Any, float] | None:
        """The owner's id and the Unix time at which the credentials expire; None without them.

        The view has authenticated the user. The stream calls it again every ``AUTHORIZE_SECONDS``.
        """
        return response.owner

    @abstractmethod
    def serialize(self, task: Task, scope: Scope) -> bytes:
        """A task as an event's data, in the current language."""

    @abstractmethod
    def error_response(self, error: StreamError, scope: Scope) -> Response:
        """The response to an error, in the current language."""

    def read_page(self, read: ReadPage, *args: Any) -> ChangedTasks:
        """A page of tasks, in a thread with a connection; ``serialize`` must not query."""
        return read(*args)

    def task_id(self, scope: Scope) -> int | None:
        """The task whose changes are streamed; None for all tasks of the owner."""
        match = self._paths.match(asgi.path_info(scope))
        task_id = match.groupdict().get("task_id") if match else None
        return None if task_id is None else int(task_id)

    def position(self, scope: Scope) -> str:
        """The position from which a client continues; empty at its first request."""
        return asgi.header(scope, b"last-event-id") or ""

    def reports_hub_state(self) -> bool:
        """Whether the stream has events that say whether hints arrive."""
        return False

    async def still_authorized(self, scope: Scope) -> bool:
        """Whether the view still allows the stream. An outage does not end it."""
        response = await self._check(scope)
        return response is None or _is_allowed(response) or response.status >= 500

    def matches(self, scope: Scope) -> bool:
        """Whether a request is for a stream."""
        is_read = scope["method"] in ("GET", "HEAD")
        return is_read and self._paths.match(asgi.path_info(scope)) is not None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self._check(scope)
        if response is None:
            return
        if not _is_allowed(response):
            await response.for_client().send_to(send)
            return
        owner = self.authenticate(scope, response)
        if owner is None:  # the credentials have expired since the check
            await self._app(asgi.get_scope(scope), asgi.empty_body(), send)
            return
        if scope["method"] == "HEAD":
            await Response(200, [*_kept_headers(response), *STREAM_HEADERS], b"").send_to(send)
            return
        owner_id, expires_at = owner
        if self._open[owner_id] >= MOST_STREAMS:
            await self._error_response(TooManyStreams(), scope, response).send_to(send)
            return
        self._open[owner_id] += 1
        try:
            await self._stream(scope, receive, send, owner_id, expires_at, response)
        finally:
            self._open[owner_id] -= 1
            if not self._open[owner_id]:
                del self._open[owner_id]

    async def _check(self, scope: Scope) -> Response | None:
        """The response of the view; None if the client has disconnected."""
        inner = asgi.get_scope(scope, without=asgi.CONDITIONAL_HEADERS)
        inner = {**inner, asgi.FROM_LIVE: True}
        return await asgi.call_app(self._app, inner, asgi.empty_body())

    async def _stream(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        owner_id: int,
        expires_at: float,
        response: Response,
    ) -> None:
        task_id = self.task_id(scope)
        position = Position.parse(self.position(scope))
        stream = SSEConnection(
            self, self._hub, scope, send, owner_id, task_id, response.language, expires_at
        )
        async with self._hub.listen(owner_id, stream.on_hint, stream.has_seen):
            try:
                page = await self._hub.run_in_thread(
                    self.read_page, changes.read_from, owner_id, position, task_id
                )
                is_over = position is not None and not page.tasks and await stream.has_ended()
            except (DatabaseError, InterfaceError) as error:
                await self._error_response(error, scope, response).send_to(send)
                return
            if is_over:
                # A 204 tells a browser not to reconnect (WHATWG HTML, 9.2).
                await Response(204, _kept_headers(response), b"").send_to(send)
                return
            watching = asyncio.ensure_future(_watch_disconnect(receive, stream))
            try:
                await stream.run(page, _kept_headers(response))
            except OSError:
                pass  # the client has disconnected
            except TimeoutError:
                asgi.abort_connection(send)
            finally:
                watching.cancel()

    def _error_response(self, error: StreamError, scope: Scope, response: Response) -> Response:
        with translation.override(response.language):
            refusal = self.error_response(error, scope)
        return Response(refusal.status, [*refusal.headers, *_kept_headers(response)], refusal.body)


def sse_view(endpoint: type[SSEEndpoint]) -> Callable[[MarkedView], MarkedView]:
    """Decorate a view, a function or a class: ``endpoint`` streams at all paths of the view."""
    return answered_by(endpoint)


def is_sse_check(request: HttpRequest) -> bool:
    """Whether an SSE endpoint calls the view, not a client."""
    return asgi.is_from_live(request)


class SSEConnection:
    """One open stream."""

    def __init__(
        self,
        endpoint: SSEEndpoint,
        hub: Hub,
        scope: Scope,
        send: Send,
        owner_id: int,
        task_id: int | None,
        language: str,
        expires_at: float,
    ) -> None:
        self._endpoint = endpoint
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
        self._may_have_changed = asyncio.Event()
        self._sent_hashes: dict[int, int] = {}
        self._read_to = ""
        self._disconnected = False
        self._ended = False

    def on_hint(self, hint: Hint) -> None:
        if hint is None or self._task_id is None or self._task_id in hint:
            self._may_have_changed.set()

    def has_seen(self, change: int) -> bool:
        return self._read_to != "" and changes.shows(self._read_to, change)

    def disconnect(self) -> None:
        self._disconnected = True
        self._may_have_changed.set()

    async def has_ended(self) -> bool:
        """Whether this is the stream of one task, and that task has ended."""
        if self._task_id is None:
            return False
        page = await self._read_next(Position())
        return all(task.status in TERMINAL for task in page.tasks)

    async def run(self, page: ChangedTasks, headers: list[asgi.Header]) -> None:
        """Send the events until the stream is over.

        Raises OSError if the client has disconnected, TimeoutError if it does not read.
        """
        headers = [*headers, *STREAM_HEADERS]
        await self._send_message({"type": "http.response.start", "status": 200, "headers": headers})
        first = f"retry: {RETRY_MILLISECONDS}\n".encode()
        if not page.tasks:
            # An id without an event, so that a client that loses the connection now can resume.
            first += f"id: {page.after}\n\n".encode()
        await self._write(first)
        while True:
            self._read_to = page.after.since
            await self._send_events(page)
            if page.is_last and not await self._wait_for_change():
                break
            self._may_have_changed.clear()
            page = await self._next_page(page)
        await self._send_message({"type": "http.response.body", "body": b""})

    async def _send_events(self, page: ChangedTasks) -> None:
        events = [(task.pk, data) for task in page.tasks if (data := self._data(task)) is not None]
        chunk = b""
        for number, (task_id, data) in enumerate(events, start=1):
            position = page.after if number == len(events) else page.position_at(task_id)
            event_id = str(position).encode()
            chunk += b"event: task\nid: %b\ndata: %b\n\n" % (event_id, one_line(data))
            if len(chunk) > CHUNK_BYTES:
                await self._write(chunk)
                chunk = b""
        if chunk:
            await self._write(chunk)

    def _data(self, task: Any) -> bytes | None:
        """The data of a task's event; None if it equals that of the last event."""
        with translation.override(self._language):
            data = self._endpoint.serialize(task, self._scope)
        data_hash = hash(data)
        if self._sent_hashes.get(task.pk) == data_hash:
            return None
        self._sent_hashes[task.pk] = data_hash
        if task.status in TERMINAL:
            del self._sent_hashes[task.pk]
            self._ended = self._task_id is not None
        return data

    async def _wait_for_change(self) -> bool:
        """Wait until tasks may have changed; False when the stream is over."""
        while not (self._ended or self._disconnected or self._hub.stopping):
            if (
                self._endpoint.reports_hub_state()
                and self._hub.receives_hints != self._reported_hub_state
            ):
                self._reported_hub_state = self._hub.receives_hints
                state = b"here" if self._hub.receives_hints else b"away"
                await self._write(b"event: hints\ndata: %b\n\n" % state)
            if _clock() >= self._ends_at or not await self._is_authorized():
                return False
            if self._may_have_changed.is_set():
                return True
            try:
                async with asyncio.timeout_at(min(self._ping_at, self._ends_at)):
                    await self._may_have_changed.wait()
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
        return await self._endpoint.still_authorized(self._scope)

    async def _next_page(self, page: ChangedTasks) -> ChangedTasks:
        try:
            return await self._read_next(page.after)
        except (DatabaseError, InterfaceError):
            # The position stays the same, so the stream continues there after the outage.
            await asyncio.sleep(OUTAGE_PAUSE_SECONDS)
            self._may_have_changed.set()
            return ChangedTasks([], page.before, page.after)

    async def _read_next(self, position: Position) -> ChangedTasks:
        return await self._hub.run_in_thread(
            self._endpoint.read_page, changes.read_next, self._owner_id, position, self._task_id
        )

    async def _write(self, chunk: bytes) -> None:
        await self._send_message({"type": "http.response.body", "body": chunk, "more_body": True})

    async def _send_message(self, message: asgi.Message) -> None:
        async with asyncio.timeout(SEND_SECONDS):
            await self._send(message)


def one_line(data: bytes) -> bytes:
    """Escape the characters in JSON that many clients treat as the end of a line.

    JSON itself escapes U+000A and U+000D. U+0085, U+2028 and U+2029 may be in its strings.
    """
    for raw, escaped in LINE_ENDS.items():
        if raw in data:
            data = data.replace(raw, escaped)
    return data


async def _watch_disconnect(receive: Receive, stream: SSEConnection) -> None:
    await asgi.wait_for_disconnect(receive)
    stream.disconnect()


def _clock() -> float:
    return asyncio.get_running_loop().time()


def _is_allowed(response: Response) -> bool:
    """Whether a view has responded to an SSE endpoint that the client may have the stream."""
    return response.status == HTTPStatus.OK and not response.body


def _kept_headers(response: Response) -> list[asgi.Header]:
    """The headers of the view's response that the stream's response has too."""
    headers = [header for header in response.headers if header[0] in KEPT_HEADERS]
    return [*headers, (b"cache-control", b"no-store")]
