"""Generated from `async_transport.py` by `python tools/unasync.py`; edit that file instead."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from taskyard.client.encoding import encode_json
from taskyard.client.errors import (
    AuthenticationError,
    ConnectionFailed,
    RateLimited,
    Unavailable,
    error_from_response,
)
from taskyard.client.retry import RetryBudget
from taskyard.client.ssl_context import create_ssl_context, is_loopback
from taskyard.client.tokens import Tokens, TokenStore

LOCKED_PAUSE_SECONDS = 0.05
# After these errors the request cannot have arrived: it may be sent again even if it is not
# idempotent.
NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
NOT_RETRYABLE = (httpx.UnsupportedProtocol, httpx.LocalProtocolError)

Query = dict[str, Any]


class Transport:
    """Connections to one server with the tokens of one user.

    Retries failed requests, renews the access token, and raises errors as exceptions.
    """

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
        loopback = is_loopback(url)
        try:
            self._http = httpx.Client(
                base_url=f"{url}/api",
                headers=headers,
                timeout=timeout,
                follow_redirects=False,
                trust_env=not loopback,
                verify=create_ssl_context(url),
            )
        # The environment may name a proxy or a certificate that does not exist.
        except (ImportError, ValueError, OSError, httpx.InvalidURL) as error:
            raise ConnectionFailed(f"proxy or certificates of the environment: {error}") from error

    def close(self) -> None:
        self._http.close()

    def json(
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
        content = None if body is None else encode_json(body)
        return parse_json(
            self.request(
                method,
                path,
                content,
                query=query,
                headers=headers,
                repeatable=repeatable,
                anonymous=anonymous,
            )
        )

    def request(
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
        """Send a request, with retries, and return the successful response.

        ``seconds`` is the read timeout. ``repeatable`` says that the request is idempotent,
        ``anonymous`` that it is sent without a token. Raises ApiError, ConnectionFailed.
        """
        retry_budget = RetryBudget(self._retry_for)
        renewed = False
        while True:
            access = None if anonymous else self._access_token()
            request = self._http.build_request(
                method,
                path,
                content=content,
                params={name: value for name, value in (query or {}).items() if value is not None},
                headers=_headers(headers, access, content),
                timeout=httpx.Timeout(self.timeout, read=seconds or self.timeout),
            )
            try:
                response = self._http.send(request, stream=stream)
                if not response.is_success:
                    response.read()
            except NOT_RETRYABLE as error:
                raise ConnectionFailed(f"{self.url}: {error}") from error
            except httpx.TransportError as error:
                pause = retry_budget.pause() if repeatable or isinstance(error, NOT_SENT) else None
                if pause is None:
                    raise ConnectionFailed(
                        f"{self.url}: {error or type(error).__name__}"
                    ) from error
                self.notify_retry(error, pause)
                time.sleep(pause)
                continue
            if response.is_success:
                return response
            failure = error_from_response(response.status_code, response.headers, response.content)
            if isinstance(failure, AuthenticationError) and access is not None and not renewed:
                renewed = True
                if self._renew(access):
                    continue
            if isinstance(failure, RateLimited) or (
                repeatable and isinstance(failure, Unavailable)
            ):
                pause = retry_budget.pause(failure.retry_after)
                if pause is not None:
                    self.notify_retry(failure, pause)
                    time.sleep(pause)
                    continue
            raise failure

    def _renew(self, access: str) -> bool:
        """Replace this access token by a new one. Return False if that is impossible."""
        with self._locked():
            tokens = self.tokens.load()
            if tokens is None:
                return False
            if tokens.access != access:
                return True  # another client has just renewed it
            if tokens.refresh is None:
                return False
            try:
                pair = self.json(
                    *("POST", "/token/refresh/", {"refresh": tokens.refresh}),
                    repeatable=False,
                    anonymous=True,
                )
            except AuthenticationError:
                return False
            self.tokens.save(Tokens(pair["access"], pair.get("refresh") or tokens.refresh))
            return True

    @contextmanager
    def _locked(self) -> Iterator[None]:
        while not self.tokens.try_lock():
            time.sleep(LOCKED_PAUSE_SECONDS)
        try:
            yield
        finally:
            self.tokens.unlock()

    def _access_token(self) -> str:
        tokens = self.tokens.load()
        if tokens is None:
            raise AuthenticationError(401, "not_logged_in", "There is no token: log in first.")
        return tokens.access

    def notify_retry(self, error: Exception, pause: float) -> None:
        if self._on_retry is not None:
            self._on_retry(error, pause)


def _headers(
    extra: dict[str, str] | None, access: str | None, content: bytes | None
) -> dict[str, str]:
    headers = dict(extra or {})
    if access is not None:
        headers["Authorization"] = f"Bearer {access}"
    if content is not None:
        headers["Content-Type"] = "application/json"
    return headers


def parse_json(response: httpx.Response) -> Any:
    try:
        return json.loads(response.content)
    except ValueError:
        raise ConnectionFailed(f"{response.url}: the response is not JSON") from None
