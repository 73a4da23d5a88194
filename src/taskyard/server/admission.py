"""Bound what requests cost before they are authenticated: bodies, parsing and password hashes.

Most requests have a short body and pass at once. A longer body is read only if its path accepts so
many bytes, the request has a valid token (if the path needs one), and the budget of all bodies has
room. The body of any other request stays unread: the WSGI application answers by the headers.
"""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial

from django.conf import settings
from django.urls import Resolver404, resolve

from taskyard.accounts.addresses import client_ip_of
from taskyard.api.bearer import is_authenticated, needs_thread, owner_of_token
from taskyard.live.asgi import Message, Receive, Scope, Send, declared_size, header, path_info
from taskyard.server.wsgi_adapter import (
    BUSY,
    REFUSAL,
    SIZE,
    UNREAD,
    Body,
    ClientDisconnected,
    WSGIAdapter,
    WSGIApp,
    wait_for_ever,
)

# Every path accepts a body of so many bytes; it is read without any check.
SHORT_BYTES = 16 * 1024
# Parsing a longer body takes so long that it slows other requests down.
LONG_BYTES = 64 * 1024
# The paths that hash a password.
_HASHING_PATH = re.compile(
    r"/(?:api/(?:register|token|me/password|password/reset/confirm)|sign-in|register|password"
    r"|password/reset/confirm|email/confirm|admin/login"
    r"|admin/taskyard_accounts/user/(?:add|[^/]+/password))/?"
)


class Busy(Exception):
    """A budget has no room for this request now."""


@dataclass(frozen=True)
class BodyPolicy:
    """How many bytes of a body a path accepts, and whether only with a valid token."""

    limit: int
    needs_token: bool


class Admission:
    """Calls the WSGI application within the bounds. One for all connections of the process."""

    def __init__(self, wsgi: WSGIApp) -> None:
        self._app = WSGIAdapter(wsgi, threads=settings.TASKYARD_THREADS)
        self._hashing_app = WSGIAdapter(
            wsgi, threads=settings.TASKYARD_HASHING_THREADS, may_grow=False
        )
        self._hash_budget = Budget(
            settings.TASKYARD_HASHING_QUEUE,
            per_address=max(1, settings.TASKYARD_HASHING_QUEUE // 2),
        )
        self._body_budget = Budget(
            settings.TASKYARD_BODY_BYTES, per_address=settings.TASKYARD_BODY_BYTES // 4
        )
        self._long_requests = AddressLimiter(settings.TASKYARD_LONG_REQUESTS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        declared = declared_size(scope)
        hashes = scope["method"] == "POST" and _HASHING_PATH.fullmatch(path_info(scope)) is not None
        if declared is not None and declared <= SHORT_BYTES and not hashes:
            await self._app(scope, receive, send)
            return
        body = Body(receive)
        try:
            if declared is None or declared <= SHORT_BYTES:
                await body.read(SHORT_BYTES)
            if body.is_whole:
                app = self._call_hashing_app if hashes else self._app
                await app(scope, body.replay, send)
            elif hashes:
                await self._refuse_unread(scope, send, declared or body.size)
            else:
                await self._call_with_long_body(scope, body, send, declared)
        except ClientDisconnected:
            return

    def close(self) -> None:
        self._app.close()
        self._hashing_app.close()

    async def _call_hashing_app(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer in the hashing threads, so that no other request waits for a hash."""
        try:
            with self._hash_budget.reserve(_address(scope), 1):
                await self._hashing_app(scope, receive, send)
        except Busy:
            await self._app({**scope, REFUSAL: BUSY}, receive, send)

    async def _call_with_long_body(
        self, scope: Scope, body: Body, send: Send, declared: int | None
    ) -> None:
        policy = body_policy(path_info(scope))
        size = policy.limit if declared is None else declared
        if size > policy.limit or (policy.needs_token and not await self._is_authenticated(scope)):
            await self._refuse_unread(scope, send, size)
            return
        address = _address(scope)
        try:
            with self._body_budget.reserve(address, size):
                await body.read(policy.limit)
                if not body.is_whole:
                    await self._refuse_unread(scope, send, body.size)
                elif body.size > LONG_BYTES:
                    async with self._long_requests.slot(address):
                        await self._app(scope, body.replay, send)
                else:
                    await self._app(scope, body.replay, send)
        except Busy:
            await self._refuse_unread(scope, send, size, BUSY)

    async def _is_authenticated(self, scope: Scope) -> bool:
        """Ask a thread only for an API key not seen before, or the token of another issuer."""
        if owner_of_token(scope) is not None:
            return True
        if not needs_thread(scope):
            return False
        return await self._app.run(scope, partial(is_authenticated, scope))

    async def _refuse_unread(self, scope: Scope, send: Send, size: int, why: str = UNREAD) -> None:
        """Let the application answer by the headers, then close the connection.

        The client may still send the body, so the connection cannot carry another request.
        """

        async def send_and_close(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], (b"connection", b"close")]}
            await send(message)

        await self._app(
            {**scope, REFUSAL: why, SIZE: size}, Body(wait_for_ever).replay, send_and_close
        )


class Budget:
    """An amount that all requests share, with a smaller limit for each address."""

    def __init__(self, limit: int, *, per_address: int) -> None:
        self._limit = limit
        self._per_address = per_address
        self._reserved: Counter[str] = Counter()

    @contextmanager
    def reserve(self, address: str, amount: int) -> Iterator[None]:
        """Reserve an amount for the block. Raises Busy if that would exceed a limit."""
        if (
            self._reserved.total() + amount > self._limit
            or self._reserved[address] + amount > self._per_address
        ):
            raise Busy
        self._reserved[address] += amount
        try:
            yield
        finally:
            self._reserved[address] -= amount
            if not self._reserved[address]:
                del self._reserved[address]


class AddressLimiter:
    """A semaphore with at most one slot for each address; the others wait in order."""

    def __init__(self, slots: int) -> None:
        self._semaphore = asyncio.Semaphore(slots)
        self._locks: dict[str, asyncio.Lock] = {}
        self._users: Counter[str] = Counter()

    @asynccontextmanager
    async def slot(self, address: str) -> AsyncIterator[None]:
        lock = self._locks.setdefault(address, asyncio.Lock())
        self._users[address] += 1
        try:
            async with lock, self._semaphore:
                yield
        finally:
            self._users[address] -= 1
            if not self._users[address]:
                del self._users[address], self._locks[address]


def body_policy(path: str) -> BodyPolicy:
    """The body policy of the view behind a path. Pages have none of their own: they take forms."""
    try:
        view = resolve(path).func
    except Resolver404:
        return BodyPolicy(SHORT_BYTES, needs_token=False)
    api_view = getattr(view, "cls", None)
    if api_view is None:
        return BodyPolicy(settings.TASKYARD_FORM_BYTES, needs_token=False)
    return BodyPolicy(api_view.body_limit, needs_token=bool(api_view.authentication_classes))


def _address(scope: Scope) -> str:
    peer = scope.get("client")
    return client_ip_of(
        peer[0] if peer else "",
        forwarded_for=header(scope, b"x-forwarded-for") or "",
        forwarded=header(scope, b"forwarded") or "",
    )
