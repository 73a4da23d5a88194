"""``Prefer: wait=N`` (RFC 7240): create and detail answer when the task has ended.

The ordinary application answers; a task that has not ended is waited for without a thread. What
was created is then read and shown here, for its creation has proved whose it is; what was asked for
is asked for again.
"""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from functools import partial

from django.db import DatabaseError, InterfaceError
from django.utils import translation

from taskyard.api.bearer import authenticate_scope
from taskyard.api.json import dumps
from taskyard.api.serialize import serialize_task
from taskyard.core.models import Task
from taskyard.core.states import TERMINAL
from taskyard.live import asgi
from taskyard.live.asgi import ASGIApp, Receive, Response, Scope, Send
from taskyard.live.hints import Hint
from taskyard.live.hub import Hub

LONGEST_SECONDS = 60
SHORT_BYTES = 16 * 1024
Reread = Callable[[], Awaitable[Response | None]]

_CREATE = re.compile(r"/api/tasks(?:/create)?/?", re.ASCII)
_DETAIL = re.compile(r"/api/tasks/[0-9]{1,19}/?", re.ASCII)
# A header is read to its end once, whatever is in it: a quoted text that never ends ends there.
_PART = re.compile(r'"(?:[^"\\]|\\.|\\\Z)*(?:"|\Z)|[^,"]+|,', re.DOTALL)
LONGEST_HEADER = 1024
_SECONDS = re.compile(r"([0-9]+)(?:\.[0-9]*)?")


def seconds_of(prefer: str) -> int | None:
    """How long a Prefer header asks to wait, 60 at most; None if it does not, or not rightly.

    Whole seconds count, and a bare ``wait`` is the longest. Of several the first counts (RFC
    7240, 2). A longer header than anybody writes is not read.
    """
    if len(prefer) > LONGEST_HEADER:
        return None
    for element in _elements(prefer):
        name, _, value = element.partition(";")[0].partition("=")
        if name.strip().lower() == "wait":
            return _seconds(value.strip())
    return None


def _seconds(value: str) -> int | None:
    """What a wait says; an empty value, also a quoted one, is none (RFC 7240, 2)."""
    if len(value) > 1 and value[0] == value[-1] == '"':
        value = value[1:-1]
    if not value:
        return LONGEST_SECONDS
    found = _SECONDS.fullmatch(value)
    return min(int(found[1]), LONGEST_SECONDS) if found else None


def _elements(header: str) -> list[str]:
    """What stands between commas, where a quoted text may hold commas."""
    elements = [""]
    for part in _PART.findall(header):
        if part == ",":
            elements.append("")
        else:
            elements[-1] += part
    return elements


class PreferWait:
    """POST /api/tasks/create/, POST /api/tasks/, GET /api/tasks/<id>/, if they prefer to wait."""

    def __init__(self, hub: Hub, wsgi_app: ASGIApp) -> None:
        self._hub = hub
        self._wsgi_app = wsgi_app

    def matches(self, scope: Scope) -> bool:
        """Whether a request is one that is to wait."""
        address = {"POST": _CREATE, "GET": _DETAIL}.get(scope["method"])
        return (
            address is not None
            and any(name == b"prefer" for name, _ in scope["headers"])
            and address.fullmatch(scope["path"]) is not None
            and seconds_of(asgi.header(scope, b"prefer") or "") is not None
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        held = authenticate_scope(scope)
        if held is None:
            await self._wsgi_app(scope, receive, send)
            return
        wait = Wait(seconds_of(asgi.header(scope, b"prefer") or "") or 0)
        # Listening comes first: the task may have ended before its creation is answered.
        async with self._hub.listen(held[0], wait.on_hint):
            response = await self._answer(scope, receive, wait, held[0])
        if response is not None:
            await response.send_to(send)

    async def _answer(
        self, scope: Scope, receive: Receive, wait: "Wait", owner_id: int
    ) -> Response | None:
        """None where the client has left."""
        creates = scope["method"] == "POST"
        # Without its conditions, for a 304 would not say how the task stands.
        asked = scope if creates else asgi.get_scope(scope, without=asgi.CONDITIONAL_HEADERS)
        if not creates and scope["query_string"]:
            # Some fields may not say how the task stands; what they are is checked first.
            refused = await asgi.call_app(self._wsgi_app, asked, asgi.receive_empty_body)
            if refused is None or refused.status != 200:
                return refused
            asked = {**asked, "query_string": b""}
        again = partial(asgi.call_app, self._wsgi_app, asked, asgi.receive_empty_body)
        first = await asgi.call_app(self._wsgi_app, asked, receive) if creates else await again()
        if first is None or first.status not in (200, 201):
            return first
        task_id, status = await self._id_and_status(first)
        latest = first
        if status not in TERMINAL:
            reread = partial(self._reread, owner_id, task_id, first) if creates else again
            watching = asyncio.ensure_future(_watch_disconnect(receive, wait))
            try:
                found = await self._wait_for_end(reread, task_id, wait)
            finally:
                watching.cancel()
            if wait.disconnected:
                return None
            latest = found or first
        if (asked["headers"], asked["query_string"]) != (scope["headers"], scope["query_string"]):
            latest = (
                await asgi.call_app(self._wsgi_app, asgi.get_scope(scope), asgi.receive_empty_body)
                or latest
            )
        return latest.with_header(b"preference-applied", f"wait={wait.seconds}".encode())

    async def _reread(self, owner_id: int, task_id: int, first: Response) -> Response | None:
        """The first answer with the task as it is now; None where that cannot be read."""
        try:
            body = await self._hub.run_in_thread(_serialize, owner_id, task_id, first.language)
        except (DatabaseError, InterfaceError):
            return None
        return None if body is None else first.with_body(body)

    async def _wait_for_end(self, reread: Reread, task_id: int, wait: "Wait") -> Response | None:
        """The task when it has ended, or as it is when the time is over; None if that fails."""
        while True:
            more = await wait.next_hint(task_id) and not self._hub.stopping
            response = await reread()
            if response is None or response.status not in (200, 201):
                if not more:
                    return None
            elif not more or (await self._id_and_status(response))[1] in TERMINAL:
                return response

    async def _id_and_status(self, response: Response) -> tuple[int, str]:
        """The task's id and status. A long answer is not read in the loop, which serves all."""
        if len(response.body) <= SHORT_BYTES:
            return _id_and_status(response.body)
        return await self._hub.run_in_thread(_id_and_status, response.body)


class Wait:
    """What one request waits for."""

    def __init__(self, seconds: int) -> None:
        self.seconds = seconds
        self.disconnected = False
        self._until = asyncio.get_running_loop().time() + seconds
        self._ended: set[int] = set()
        self._unsure = False
        self._news = asyncio.Event()

    def on_hint(self, hint: Hint) -> None:
        if hint is None:
            self._unsure = True
            self._news.set()
        elif ended := {task_id for task_id, status in hint.items() if status in TERMINAL}:
            self._ended |= ended
            self._news.set()

    def disconnect(self) -> None:
        self.disconnected = True
        self._news.set()

    async def next_hint(self, task_id: int) -> bool:
        """Wait until the task is said to have ended, or may have; False when the time is over."""
        try:
            async with asyncio.timeout_at(self._until):
                while not (self._unsure or self.disconnected or task_id in self._ended):
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            return False
        self._unsure = False
        # Heard of once: should the answer still say otherwise, wait for the next word.
        self._ended.discard(task_id)
        return not self.disconnected


def _id_and_status(body: bytes) -> tuple[int, str]:
    task = json.loads(body)
    return task["id"], task["status"]


def _serialize(owner_id: int, task_id: int, language: str) -> bytes | None:
    task = Task.objects.get_owned(owner_id, task_id)
    if task is None:
        return None
    with translation.override(language):
        return dumps(serialize_task(task))


async def _watch_disconnect(receive: Receive, wait: Wait) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    wait.disconnect()
