"""Generated from `async_transport.py` by `python tools/unasync.py`; edit that file instead."""

import copy
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Self

import httpx

from taskyard.client import sync_sso
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
# A function starts to read a long body, once for each try.
Body = bytes | Callable[[], Iterator[bytes]]


class Transport:
    """Connections to one server with the tokens of one user.

    Retries failed requests, renews the access token, and raises errors as exceptions.
    """

    def __init__(
        self,
        url: str,
        tokens: TokenStore,
        *,
        on_behalf_of: str | None,
        language: str | None,
        timeout: float,
        retry_for: float,
        on_retry: Callable[[Exception, float], None] | None,
    ) -> None:
        self.url = url
        self.tokens = tokens
        self.timeout = timeout
        self._subject = on_behalf_of
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

    def on_behalf_of(self, subject: str) -> Self:
        """The same connections for a subject of the service account."""
        other = copy.copy(self)
        other._subject = subject
        return other

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
        content: Body | None = None,
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
                content=content() if callable(content) else content,
                params={name: value for name, value in (query or {}).items() if value is not None},
                headers=self._headers(headers, access, is_json=content is not None),
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
            if response.is_success or (stream and response.has_redirect_location):
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
            if tokens.issuer is not None:
                renewed = sync_sso.renew(tokens, tokens.issuer)
                if renewed is not None:
                    self.tokens.save(renewed)
                return renewed is not None
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

    def _headers(
        self, extra: dict[str, str] | None, access: str | None, *, is_json: bool
    ) -> dict[str, str]:
        headers = dict(extra or {})
        if access is not None:
            headers["Authorization"] = f"Bearer {access}"
            if self._subject is not None:
                headers["On-Behalf-Of"] = self._subject
        if is_json:
            headers.setdefault("Content-Type", "application/json")
        return headers

    @contextmanager
    def follow(self, redirect: httpx.Response) -> Iterator[httpx.Response]:
        """Stream from the storage that the server names, without a token and without retries.

        Raises httpx.TransportError, also if the storage refuses.
        """
        url = str(redirect.url.join(redirect.headers["Location"]))
        sent = redirect.request.headers
        headers = {name: sent[name] for name in ("Accept-Encoding", "Range") if name in sent}
        with (
            httpx.Client(
                timeout=self.timeout,
                trust_env=not is_loopback(url),
                verify=create_ssl_context(url),
            ) as http,
            http.stream("GET", url, headers=headers) as response,
        ):
            if not response.is_success:
                raise httpx.TransportError(f"the storage answered {response.status_code}")
            yield response

    def new_retry_budget(self) -> RetryBudget:
        """The budget of what does its own retries."""
        return RetryBudget(self._retry_for)

    def notify_retry(self, error: Exception, pause: float) -> None:
        if self._on_retry is not None:
            self._on_retry(error, pause)


def parse_json(response: httpx.Response) -> Any:
    try:
        return json.loads(response.content)
    except ValueError:
        raise ConnectionFailed(f"{response.url}: the response is not JSON") from None
