"""What a request may cost before it is known whose it is: its body, its parsing, its hash.

Most requests have a short body and pass. Of a longer one it is asked first whether its address
takes so much, then whether a valid token comes with it, then whether there is memory for it. What
has no chance is not read: the ordinary application answers it by its headers.
"""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

from django.conf import settings
from django.urls import Resolver404, resolve

from taskyard.accounts.addresses import client_of
from taskyard.api.bearer import authenticate_scope
from taskyard.live.asgi import header
from taskyard.server.wsgi_adapter import (
    BUSY,
    REFUSAL,
    SIZE,
    UNREAD,
    Body,
    ClientDisconnected,
    Message,
    Receive,
    Scope,
    Send,
    WSGIAdapter,
    WSGIApp,
    declared_size,
)

# A body that every address takes, and that is read without a question.
SHORT = 16 * 1024
# A body whose parsing others would notice.
LONG = 64 * 1024
# Where passwords are hashed.
_HASHING = re.compile(
    r"/(?:api/(?:register|token|me/password)|sign-in|register|password|admin/login"
    r"|admin/password_change|admin/accounts/user/(?:add|[^/]+/password))/?"
)


class Busy(Exception):
    """There is no room for this request now."""


@dataclass(frozen=True)
class Terms:
    """Which body an address takes: at most so many bytes, and whether only with a token."""

    limit: int
    needs_token: bool


class Admission:
    """The ordinary application, behind bounds. One for all connections of the process."""

    def __init__(self, wsgi: WSGIApp) -> None:
        self._bridge = WSGIAdapter(
            wsgi, threads=settings.TASKYARD_THREADS, max_body=settings.MAX_BODY_BYTES
        )
        self._hashing = WSGIAdapter(
            wsgi, threads=settings.TASKYARD_HASHING_THREADS, max_body=SHORT, may_grow=False
        )
        self._hashes = Budget(
            settings.TASKYARD_HASHING_QUEUE, of_one=max(1, settings.TASKYARD_HASHING_QUEUE // 2)
        )
        self._bodies = Budget(
            settings.TASKYARD_BODY_BYTES, of_one=settings.TASKYARD_BODY_BYTES // 4
        )
        self._long = FairLock(settings.TASKYARD_LONG_REQUESTS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        declared = declared_size(scope)
        hashes = scope["method"] == "POST" and _HASHING.fullmatch(scope["path"]) is not None
        if declared is not None and declared <= SHORT and not hashes:
            await self._bridge(scope, receive, send)
            return
        body = Body(receive)
        try:
            if declared is None or declared <= SHORT:
                await body.read(SHORT)
            if body.is_whole:
                answer = self._hashed if hashes else self._bridge
                await answer(scope, body.again, send)
            elif hashes:
                await self._unread(scope, send, declared or body.size)
            else:
                await self._longer(scope, body, send, declared)
        except ClientDisconnected:
            return

    def close(self) -> None:
        self._bridge.close()
        self._hashing.close()

    async def _hashed(self, scope: Scope, receive: Receive, send: Send) -> None:
        """In threads of their own: nobody else waits while they hash."""
        try:
            with self._hashes.room(_address(scope), 1):
                await self._hashing(scope, receive, send)
        except Busy:
            await self._bridge({**scope, REFUSAL: BUSY}, receive, send)

    async def _longer(self, scope: Scope, body: Body, send: Send, declared: int | None) -> None:
        terms = terms_of(scope["path"])
        size = terms.limit if declared is None else declared
        if size > terms.limit or (terms.needs_token and authenticate_scope(scope) is None):
            await self._unread(scope, send, size)
            return
        address = _address(scope)
        try:
            with self._bodies.room(address, size):
                await body.read(terms.limit)
                if not body.is_whole:
                    await self._unread(scope, send, body.size)
                elif body.size > LONG:
                    async with self._long.turn(address):
                        await self._bridge(scope, body.again, send)
                else:
                    await self._bridge(scope, body.again, send)
        except Busy:
            await self._unread(scope, send, size, BUSY)

    async def _unread(self, scope: Scope, send: Send, size: int, why: str = UNREAD) -> None:
        """Answered by its headers alone; the connection ends, for the body still comes."""

        async def and_close(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], (b"connection", b"close")]}
            await send(message)

        await self._bridge({**scope, REFUSAL: why, SIZE: size}, Body.none().again, and_close)


class Budget:
    """So much of something at once in all, and for one address. Both are given back."""

    def __init__(self, most: int, *, of_one: int) -> None:
        self._most = most
        self._of_one = of_one
        self._taken: Counter[str] = Counter()

    @contextmanager
    def room(self, address: str, amount: int) -> Iterator[None]:
        """Raises Busy if there is none."""
        if (
            self._taken.total() + amount > self._most
            or self._taken[address] + amount > self._of_one
        ):
            raise Busy
        self._taken[address] += amount
        try:
            yield
        finally:
            self._taken[address] -= amount
            if not self._taken[address]:
                del self._taken[address]


class FairLock:
    """So many at once, one of them for each address; the others wait in their order."""

    def __init__(self, most: int) -> None:
        self._all = asyncio.Semaphore(most)
        self._of_one: dict[str, asyncio.Lock] = {}
        self._here: Counter[str] = Counter()

    @asynccontextmanager
    async def turn(self, address: str) -> AsyncIterator[None]:
        lock = self._of_one.setdefault(address, asyncio.Lock())
        self._here[address] += 1
        try:
            async with lock, self._all:
                yield
        finally:
            self._here[address] -= 1
            if not self._here[address]:
                del self._here[address], self._of_one[address]


def terms_of(path: str) -> Terms:
    """What the view behind an address says of its bodies. Pages say nothing: they take forms."""
    try:
        view = resolve(path).func
    except Resolver404:
        return Terms(SHORT, needs_token=False)
    api_view = getattr(view, "cls", None)
    if api_view is None:
        return Terms(settings.TASKYARD_FORM_BYTES, needs_token=False)
    return Terms(api_view.body_limit, needs_token=bool(api_view.authentication_classes))


def _address(scope: Scope) -> str:
    peer = scope.get("client")
    return client_of(
        peer[0] if peer else "",
        forwarded_for=header(scope, b"x-forwarded-for") or "",
        forwarded=header(scope, b"forwarded") or "",
    )
