"""HTTP with the provider: bounded in time and size, without redirects."""

import logging
import time
from collections.abc import Iterator
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import httpx

# Of one connection and of one pause between bytes, and of a whole answer.
CONNECT_SECONDS, READ_SECONDS, WHOLE_SECONDS = 3.0, 5.0, 10.0
# The metadata of large providers have some 10 KiB, and key sets less.
LONGEST_ANSWER = 512 * 1024
# It logs each request as INFO.
logging.getLogger("httpx").setLevel(logging.WARNING)
LOOPBACK = ("127.0.0.1", "[::1]", "localhost")


class BadAnswer(Exception):
    """The provider did not answer as the protocol says, or not with success."""


class _Bounded(httpx.SyncByteStream):
    """The body of an answer up to LONGEST_ANSWER and WHOLE_SECONDS. Raises httpx.ReadError."""

    def __init__(self, stream: httpx.SyncByteStream) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        size, ends_at = 0, time.monotonic() + WHOLE_SECONDS
        for piece in self._stream:
            size += len(piece)
            if size > LONGEST_ANSWER:
                raise httpx.ReadError("the provider's answer is too long")
            if time.monotonic() > ends_at:
                raise httpx.ReadTimeout("the provider's answer takes too long")
            yield piece

    def close(self) -> None:
        self._stream.close()


def _bound(response: httpx.Response) -> None:
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise httpx.DecodingError("the provider compresses, and was asked not to")
    if isinstance(response.stream, httpx.SyncByteStream):
        response.stream = _Bounded(response.stream)


@cache
def client(*, is_local: bool) -> httpx.Client:
    """The connections of this process to providers. A local one needs no proxy."""
    return httpx.Client(
        timeout=httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS),
        follow_redirects=False,
        # A small compressed answer could be a large one.
        headers={"Accept-Encoding": "identity", "User-Agent": "Taskyard"},
        event_hooks={"response": [_bound]},
        trust_env=not is_local,
    )


def client_for(url: str) -> httpx.Client:
    return client(is_local=is_loopback(url))


def get_object(url: str, *, bearer: str | None = None) -> dict[str, Any]:
    """The JSON object at an address. Raises BadAnswer, httpx.HTTPError."""
    headers = {"Accept": "application/json"}
    if bearer is not None:
        headers["Authorization"] = f"Bearer {bearer}"
    response = client_for(url).get(url, headers=headers)
    if response.status_code != 200:
        raise BadAnswer(f"{url} answered {response.status_code}")
    try:
        answer = response.json()
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise BadAnswer(f"{url} did not answer a JSON object")
    return answer


def is_loopback(url: str) -> bool:
    netloc = urlsplit(url).netloc
    return netloc.rpartition(":")[0] in LOOPBACK or netloc in LOOPBACK


def is_allowed(url: Any, issuer: str) -> bool:
    """Whether the metadata of an issuer may name this address: HTTPS, or the host of the issuer.

    Only an issuer on this machine may be without HTTPS, so the rule lets no secret leave in clear.
    """
    if not isinstance(url, str) or not url.isascii():
        return False
    try:
        parts, home = urlsplit(url), urlsplit(issuer)
    except ValueError:
        return False
    if not parts.hostname or parts.username is not None or parts.fragment:
        return False
    same = (parts.scheme, parts.netloc) == (home.scheme, home.netloc)
    return same or parts.scheme == "https"
