"""Asking the server until the answer is a good one. `sync_wire.py` is made from this file."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx

from taskyard.client.encoding import encoded
from taskyard.client.errors import (
    AuthenticationError,
    ConnectionFailed,
    RateLimited,
    Unavailable,
    error_of,
)
from taskyard.client.retry import RetryBudget
from taskyard.client.ssl_context import create_ssl_context, is_loopback
from taskyard.client.tokens import Tokens, TokenStore

LOCKED_PAUSE_SECONDS = 0.05
# The request cannot have arrived, so that even what must not be done twice may be tried again.
NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
# What no further try will change.
OURS = (httpx.UnsupportedProtocol, httpx.LocalProtocolError)

Query = dict[str, Any]


class AsyncWire:
    """Connections to one server with one user's tokens: retries, renewal, errors as exceptions."""

    def __init__(
        self,
        url: str,
        tokens: TokenStore,
        *,
        language: str | None,
        timeout: float,
        retry_for: float,
        on_retry: Callable[[Exception, float], None] | None,
    ) -> None:
        self.url = url
        self.tokens = tokens
        self.timeout = timeout
        self._retry_for = retry_for
        self._on_retry = on_retry
        headers = {"Accept": "application/problem+json, application/json"}
        if language:
            headers["Accept-Language"] = language
        near = is_loopback(url)
        try:
            self._http = httpx.AsyncClient(
                base_url=f"{url}/api",
                headers=headers,
                timeout=timeout,
                follow_redirects=False,
                trust_env=not near,
                verify=create_ssl_context(url),
            )
        # The environment names proxies and certificates, and may name what is not there.
        except (ImportError, ValueError, OSError, httpx.InvalidURL) as error:
            raise ConnectionFailed(f"proxy or certificates of the environment: {error}") from error

    async def aclose(self) -> None:
        await self._http.aclose()

    async def json(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: Query | None = None,
        headers: dict[str, str] | None = None,
        repeatable: bool = True,
        anonymous: bool = False,
    ) -> Any:
        content = None if body is None else encoded(body)
        return read(
            await self.ask(
                method,
                path,
                content,
                query=query,
                headers=headers,
                repeatable=repeatable,
                anonymous=anonymous,
            )
        )

    async def ask(
        self,
        method: str,
        path: str,
        content: bytes | None = None,
        *,
        query: Query | None = None,
        headers: dict[str, str] | None = None,
        seconds: float | None = None,
        repeatable: bool = True,
        anonymous: bool = False,
        stream: bool = False,
    ) -> httpx.Response:
        """The answer, once it is a good one. ``repeatable``: doing it twice is doing it once;
        ``anonymous``: it needs no token; ``seconds`` of silence are too many."""
        retry_budget = RetryBudget(self._retry_for)
        renewed = False
        while True:
            access = None if anonymous else self._access()
            request = self._http.build_request(
                method,
                path,
                content=content,
                params={name: value for name, value in (query or {}).items() if value is not None},
                headers=_headers(headers, access, content),
                timeout=httpx.Timeout(self.timeout, read=seconds or self.timeout),
            )
            try:
                reply = await self._http.send(request, stream=stream)
                if not reply.is_success:
                    await reply.aread()
            except OURS as error:
                raise ConnectionFailed(f"{self.url}: {error}") from error
            except httpx.TransportError as error:
                pause = retry_budget.pause() if repeatable or isinstance(error, NOT_SENT) else None
                if pause is None:
                    raise ConnectionFailed(
                        f"{self.url}: {error or type(error).__name__}"
                    ) from error
                self.tell(error, pause)
                await asyncio.sleep(pause)
                continue
            if reply.is_success:
                return reply
            failure = error_of(reply.status_code, reply.headers, reply.content)
            if isinstance(failure, AuthenticationError) and access is not None and not renewed:
                renewed = True
                if await self._renew(access):
                    continue
            if isinstance(failure, RateLimited) or (
                repeatable and isinstance(failure, Unavailable)
            ):
                pause = retry_budget.pause(failure.retry_after)
                if pause is not None:
                    self.tell(failure, pause)
                    await asyncio.sleep(pause)
                    continue
            raise failure

    async def _renew(self, access: str) -> bool:
        """Get another access token in place of this one; False where there is no way to."""
        async with self._locked():
            tokens = self.tokens.load()
            if tokens is None:
                return False
            if tokens.access != access:
                return True  # somebody else has just done it
            if tokens.refresh is None:
                return False
            try:
                answer = await self.json(
                    *("POST", "/token/refresh/", {"refresh": tokens.refresh}),
                    repeatable=False,
                    anonymous=True,
                )
            except AuthenticationError:
                return False
            self.tokens.save(Tokens(answer["access"], answer.get("refresh") or tokens.refresh))
            return True

    @asynccontextmanager
    async def _locked(self) -> AsyncIterator[None]:
        while not self.tokens.try_lock():
            await asyncio.sleep(LOCKED_PAUSE_SECONDS)
        try:
            yield
        finally:
            self.tokens.unlock()

    def _access(self) -> str:
        tokens = self.tokens.load()
        if tokens is None:
            raise AuthenticationError(401, "not_logged_in", "There is no token: log in first.")
        return tokens.access

    def tell(self, error: Exception, pause: float) -> None:
        if self._on_retry is not None:
            self._on_retry(error, pause)


def _headers(
    given: dict[str, str] | None, access: str | None, content: bytes | None
) -> dict[str, str]:
    headers = dict(given or {})
    if access is not None:
        headers["Authorization"] = f"Bearer {access}"
    if content is not None:
        headers["Content-Type"] = "application/json"
    return headers


def read(reply: httpx.Response) -> Any:
    try:
        return json.loads(reply.content)
    except ValueError:
        raise ConnectionFailed(f"{reply.url}: the answer is not Taskyard's") from None
