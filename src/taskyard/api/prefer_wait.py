"""``Prefer: wait=N`` (RFC 7240): create and detail respond when the task has ended.

The view responds first and names the owner. If the task has not ended, the request waits without a
thread. After a create, this module then reads and serializes the task itself, because the create
has authenticated the owner. After a GET, it calls the view again.
"""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

from django.db import DatabaseError, InterfaceError
from django.utils import translation

from taskyard.api.bearer import owner_of_token
from taskyard.api.json import dumps
from taskyard.api.serialize import serialize_task
from taskyard.api.streams import ON_BEHALF_OF
from taskyard.core.hints import Hint
from taskyard.core.models import Task
from taskyard.core.states import TERMINAL
from taskyard.live import asgi
from taskyard.live.asgi import ASGIApp, Receive, Response, Scope, Send
from taskyard.live.hub import Hub
from taskyard.live.paths import View, ViewPaths, answered_by

LONGEST_SECONDS = 60
SHORT_BYTES = 16 * 1024
Reread = Callable[[], Awaitable[Response | None]]

# Matches in linear time: an unterminated quoted string ends at the end of the header.
_PART = re.compile(r'"(?:[^"\\]|\\.|\\\Z)*(?:"|\Z)|[^,"]+|,', re.DOTALL)
LONGEST_HEADER = 1024
_SECONDS = re.compile(r"([0-9]+)(?:\.[0-9]*)?")


def seconds_of(prefer: str) -> int | None:
    """The wait in a Prefer header in whole seconds, 60 at most; None without a valid one.

    A ``wait`` without a value means the longest. Of several the first counts (RFC 7240, 2). A
    header longer than ``LONGEST_HEADER`` is ignored.
    """
    if len(prefer) > LONGEST_HEADER:
        return None
    for element in _elements(prefer):
        name, _, value = element.partition(";")[0].partition("=")
        if name.strip().lower() == "wait":
            return _seconds(value.strip())
    return None


def _seconds(value: str) -> int | None:
    """The seconds of a value. An empty value, also a quoted one, counts as absent (RFC 7240, 2)."""
    if len(value) > 1 and value[0] == value[-1] == '"':
        value = value[1:-1]
    if not value:
        return LONGEST_SECONDS
    match = _SECONDS.fullmatch(value)
    return min(int(match[1]), LONGEST_SECONDS) if match else None


def _elements(header: str) -> list[str]:
    """The parts between commas. A quoted string may contain commas."""
    elements = [""]
    for part in _PART.findall(header):
        if part == ",":
            elements.append("")
        else:
            elements[-1] += part
    return elements


def waits_after(method: str) -> Callable[[type], type]:
    """Decorate a view: its responses to this method wait for the task if the request prefers it."""

    def mark(view: Any) -> Any:
        view.waits_after = method
        return answered_by(PreferWait)(view)

    return mark


class PreferWait:
    """Creates of a task and GETs of one task, if they prefer to wait."""

    def __init__(self, hub: Hub, app: ASGIApp) -> None:
        self._hub = hub
        self._app = app
        self._paths = {
            "POST": ViewPaths(lambda view: _method_of(view) == "POST"),
            "GET": ViewPaths(lambda view: _method_of(view) == "GET"),
        }

    def matches(self, scope: Scope) -> bool:
        """Whether a request is to wait."""
        paths = self._paths.get(scope["method"])
        return (
            paths is not None
            and any(name == b"prefer" for name, _ in scope["headers"])
            and paths.match(asgi.path_info(scope)) is not None
            and seconds_of(asgi.header(scope, b"prefer") or "") is not None
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        wait = Wait(seconds_of(asgi.header(scope, b"prefer") or "") or 0)
        async with AsyncExitStack() as listening:
            wait.owner_id = owner_of_token(scope)
            if wait.owner_id is not None:
                # Before the create, because the task may end before the create returns.
                await listening.enter_async_context(self._hub.listen(wait.owner_id, wait.on_hint))
            response = await self._respond(scope, receive, wait, listening)
        if response is not None:
            await response.for_client().send_to(send)

    async def _respond(
        self, scope: Scope, receive: Receive, wait: "Wait", listening: AsyncExitStack
    ) -> Response | None:
        """The response after the wait; None if the client has disconnected."""
        creates = scope["method"] == "POST"
        # Without conditional headers, because a 304 has no task status.
        inner = scope if creates else asgi.get_scope(scope, without=asgi.CONDITIONAL_HEADERS)
        # Not compressed by a middleware, because this module reads the body.
        inner = {**asgi.without_headers(inner, (b"accept-encoding",)), asgi.FROM_LIVE: True}
        has_conditions = any(name in asgi.CONDITIONAL_HEADERS for name, _ in scope["headers"])
        asks_again = not creates and (bool(scope["query_string"]) or has_conditions)
        if not creates and scope["query_string"]:
            # ``fields`` may leave the status out. Check the query, then ask for all fields.
            checked = await asgi.call_app(self._app, inner, asgi.empty_body())
            if checked is None or checked.status != 200:
                return checked
            inner = {**inner, "query_string": b""}

        async def get_again() -> Response | None:
            return await asgi.call_app(self._app, inner, asgi.empty_body())

        first = await (asgi.call_app(self._app, inner, receive) if creates else get_again())
        if first is None or first.status not in (200, 201) or first.owner is None:
            return first
        owner_id, _expires_at = first.owner
        task_id, status = await self._id_and_status(first)
        latest = first
        if status not in TERMINAL:
            if owner_id != wait.owner_id:
                # Only now the owner is known, and the task may have ended meanwhile.
                await listening.enter_async_context(self._hub.listen(owner_id, wait.on_hint))
                wait.on_hint(None)
            subject = asgi.header(scope, ON_BEHALF_OF)
            again = partial(self._reread, owner_id, task_id, first, subject)
            reread = again if creates else get_again
            watching = asyncio.ensure_future(_watch_disconnect(receive, wait))
            try:
                latest = await self._wait_for_end(reread, task_id, wait) or first
            finally:
                watching.cancel()
            if wait.disconnected:
                return None
        if asks_again:
            answer = await asgi.call_app(self._app, asgi.get_scope(scope), asgi.empty_body())
            latest = answer or latest
        return latest.with_header(b"preference-applied", f"wait={wait.seconds}".encode())

    async def _reread(
        self, owner_id: Any, task_id: int, first: Response, subject: str | None
    ) -> Response | None:
        """The first response with the current state of the task; None if it cannot be read."""
        try:
            body = await self._hub.run_in_thread(
                _serialize, owner_id, task_id, first.language, subject
            )
        except (DatabaseError, InterfaceError):
            return None
        return None if body is None else first.with_body(body)

    async def _wait_for_end(self, reread: Reread, task_id: int, wait: "Wait") -> Response | None:
        """The response when the task has ended or the time is over; None if it cannot be read."""
        while True:
            may_wait = await wait.next_hint(task_id) and not self._hub.stopping
            response = await reread()
            if response is None or response.status not in (200, 201):
                if not may_wait:
                    return None
            elif not may_wait or (await self._id_and_status(response))[1] in TERMINAL:
                return response

    async def _id_and_status(self, response: Response) -> tuple[int, str]:
        """The task's id and status. A long body is parsed in a thread, not in the event loop."""
        if len(response.body) <= SHORT_BYTES:
            return _id_and_status(response.body)
        return await self._hub.run_in_thread(_id_and_status, response.body)


class Wait:
    """The wait of one request."""

    def __init__(self, seconds: int) -> None:
        self.seconds = seconds
        self.owner_id: Any = None  # of the hints before the response
        self.disconnected = False
        self._deadline = asyncio.get_running_loop().time() + seconds
        self._ended: set[int] = set()
        self._may_have_ended = False
        self._hinted = asyncio.Event()

    def on_hint(self, hint: Hint) -> None:
        if hint is None:
            self._may_have_ended = True
            self._hinted.set()
        elif ended := {task_id for task_id, status in hint.items() if status in TERMINAL}:
            self._ended |= ended
            self._hinted.set()

    def disconnect(self) -> None:
        self.disconnected = True
        self._hinted.set()

    async def next_hint(self, task_id: int) -> bool:
        """Wait for a hint that the task has or may have ended; False when the time is over."""
        try:
            async with asyncio.timeout_at(self._deadline):
                while not (self._may_have_ended or self.disconnected or task_id in self._ended):
                    self._hinted.clear()
                    await self._hinted.wait()
        except TimeoutError:
            return False
        self._may_have_ended = False
        # If the task has not ended in the database, wait for another hint.
        self._ended.discard(task_id)
        return not self.disconnected


def _method_of(view: View) -> str | None:
    return getattr(view, "waits_after", None)


def _id_and_status(body: bytes) -> tuple[int, str]:
    task = json.loads(body)
    return task["id"], task["status"]


def _serialize(owner_id: Any, task_id: int, language: str, subject: str | None) -> bytes | None:
    task = Task.objects.get_owned(owner_id, task_id)
    if task is None:
        return None
    with translation.override(language):
        return dumps(serialize_task(task, subject))


async def _watch_disconnect(receive: Receive, wait: Wait) -> None:
    await asgi.wait_for_disconnect(receive)
    wait.disconnect()
