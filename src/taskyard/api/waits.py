"""``Prefer: wait=N`` (RFC 7240): create and detail answer when the task has ended.

The ordinary application answers; a task that has not ended is waited for without a thread, and
then shown as the ordinary application shows it.
"""

import asyncio
import json
import re

from taskyard.api.bearer import holder
from taskyard.core.states import TERMINAL
from taskyard.live import asgi
from taskyard.live.asgi import Answer, ASGIApp, Receive, Scope, Send
from taskyard.live.hints import Hint
from taskyard.live.hub import Hub

LONGEST_SECONDS = 60

_CREATE = re.compile(r"/api/tasks(?:/create)?/?", re.ASCII)
_DETAIL = re.compile(r"/api/tasks/[0-9]{1,19}/?", re.ASCII)
# An element of the list: what is between commas, where a quoted text may hold commas.
_ELEMENT = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*")+')
_WAIT = re.compile(r'\s*wait\s*=\s*("?)([0-9]{1,18})\1\s*(?:;.*)?', re.IGNORECASE)


def seconds_of(prefer: str) -> int | None:
    """How long a Prefer header asks to wait, 60 at most; None where it does not, or not rightly.

    Of several the first counts (RFC 7240, 2).
    """
    for element in _ELEMENT.findall(prefer):
        if re.split(r"[=;]", element, maxsplit=1)[0].strip().lower() == "wait":
            found = _WAIT.fullmatch(element)
            return min(int(found[2]), LONGEST_SECONDS) if found else None
    return None


class Waits:
    """POST /api/tasks/create/, POST /api/tasks/, GET /api/tasks/<id>/, if they prefer to wait."""

    def __init__(self, hub: Hub, ordinary: ASGIApp) -> None:
        self._hub = hub
        self._ordinary = ordinary

    def take(self, scope: Scope) -> bool:
        """Whether a request is one that is to wait."""
        address = {"POST": _CREATE, "GET": _DETAIL}.get(scope["method"])
        return (
            address is not None
            and any(name == b"prefer" for name, _ in scope["headers"])
            and address.fullmatch(scope["path"]) is not None
            and seconds_of(asgi.header(scope, b"prefer") or "") is not None
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        held = holder(scope)
        if held is None:
            await self._ordinary(scope, receive, send)
            return
        wait = Wait(seconds_of(asgi.header(scope, b"prefer") or "") or 0)
        # Listening comes first: the task may have ended before its creation is answered.
        async with self._hub.listen(held[0], wait.hear):
            answer = await self._answer(scope, receive, wait)
        if answer is not None:
            await answer.send_by(send)

    async def _answer(self, scope: Scope, receive: Receive, wait: "Wait") -> Answer | None:
        """None where the client has left."""
        creates = scope["method"] == "POST"
        # Without its conditions, for a 304 would not say how the task stands.
        asked = scope if creates else asgi.get(scope, without=asgi.CONDITIONS)
        first = await asgi.ask(self._ordinary, asked, receive if creates else asgi.no_body)
        if first is None or first.status not in (200, 201):
            return first
        task = json.loads(first.body)
        latest = first
        if task["status"] not in TERMINAL:
            departure = asyncio.ensure_future(_departure(receive, wait))
            try:
                found = await self._until_ended(scope, task["id"], wait)
            finally:
                departure.cancel()
            if wait.departed:
                return None
            latest = found or first
        if creates:
            answer = first.with_body(latest.body)
        elif asked["headers"] != scope["headers"]:
            answer = await asgi.ask(self._ordinary, asgi.get(scope), asgi.no_body) or latest
        else:
            answer = latest
        return answer.with_header(b"preference-applied", f"wait={wait.seconds}".encode())

    async def _until_ended(self, scope: Scope, task_id: int, wait: "Wait") -> Answer | None:
        """The task when it has ended, or as it is when the time is over; None if that fails."""
        path = f"/api/tasks/{task_id}/"
        request = asgi.get(scope, path, without=(*asgi.CONDITIONS, b"idempotency-key"))
        while True:
            more = await wait.news_of(task_id) and not self._hub.stopping
            answer = await asgi.ask(self._ordinary, request, asgi.no_body)
            if answer is None or answer.status != 200:
                if not more:
                    return None
            elif not more or json.loads(answer.body)["status"] in TERMINAL:
                return answer


class Wait:
    """What one request waits for."""

    def __init__(self, seconds: int) -> None:
        self.seconds = seconds
        self.departed = False
        self._until = asyncio.get_running_loop().time() + seconds
        self._ended: set[int] = set()
        self._unsure = False
        self._news = asyncio.Event()

    def hear(self, hint: Hint) -> None:
        if hint is None:
            self._unsure = True
            self._news.set()
        elif ended := {task_id for task_id, status in hint.items() if status in TERMINAL}:
            self._ended |= ended
            self._news.set()

    def depart(self) -> None:
        self.departed = True
        self._news.set()

    async def news_of(self, task_id: int) -> bool:
        """Wait until the task is said to have ended, or may have; False when the time is over."""
        try:
            async with asyncio.timeout_at(self._until):
                while not (self._unsure or self.departed or task_id in self._ended):
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            return False
        self._unsure = False
        # Heard of once: should the answer still say otherwise, wait for the next word.
        self._ended.discard(task_id)
        return not self.departed


async def _departure(receive: Receive, wait: Wait) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    wait.depart()
