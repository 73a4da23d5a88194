"""Limits on the cost of one client to others: headers, bodies and responses without an end."""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from tests.hostile.attack import Attack, raw
from tests.live_system import Live

pytestmark = pytest.mark.servers
HEAD = b"GET /api/limits/ HTTP/1.1\r\nHost: localhost\r\n"
CREATE = b"POST /api/tasks/create/ HTTP/1.1\r\nHost: localhost\r\n"


@contextmanager
def nobody_waits(live: Live, seconds: float = 2.0) -> Iterator[None]:
    """Send a request in the block; while the server works on it, others get their responses."""
    yield
    begun = time.monotonic()
    assert httpx.get(f"{live.url}/livez", timeout=60).status_code == 200
    assert time.monotonic() - begun < seconds


@pytest.mark.parametrize(
    "header",
    [
        *(b"Prefer: " + text for text in (
            b'"' * 60_000, b'"\\' * 30_000, b"wait=1" + b" " * 60_000, b'a="' * 20_000,
            b"," * 60_000, b"wait" + b"=" * 60_000)),
        b"Content-Type: a; b=\"" + b";" * 60_000,
        b"Content-Type: a; b=" + b"\";" * 30_000,
        b"Accept: " + b"application/problem+json;" * 2400,
        b"Accept-Language: " + b"en;q=0.5," * 6600,
        b"If-None-Match: " + b'W/"' * 20_000,
        b"If-Modified-Since: " + b"1 " * 30_000,
        b"Last-Event-ID: " + b"1," * 30_000,
        b"Idempotency-Key: " + b"x" * 60_000,
        b"Cookie: " + b'a="\\' * 15_000,
        b"Authorization: Bearer " + b"e." * 30_000,
        b"Authorization: " + b"Bearer " * 8000,
        b"X-Forwarded-For: " + b"1.1.1.1," * 7500,
        b"Forwarded: " + b'for="' * 12_000,
        b"Range: bytes=" + b"0-," * 20_000,
        b"Accept-Encoding: " + b"gzip;" * 12_000,
        b"X-Request-ID: " + b"x" * 60_000,
        b"Origin: " + b"http://" * 8000,
        b"Referer: " + b"http://[" * 7000,
    ],
    ids=lambda header: header[:24].decode(),
)  # fmt: skip
def test_a_long_header_costs_nobody_anything(attack: Attack, hostile: Live, header: bytes) -> None:
    """headers of 60 kB made to be slow to read: other clients are answered meanwhile"""
    with socket.create_connection(("127.0.0.1", hostile.port), timeout=60) as one:
        with nobody_waits(hostile):
            for head in (HEAD, CREATE + b"Content-Length: 0\r\n"):
                one.sendall(head + header + b"\r\n\r\n")
        assert one.recv(65536).startswith(b"HTTP/1.1 4")


def test_what_a_proxy_lets_through_is_no_slower(attack: Attack, hostile: Live) -> None:
    """four headers of 8 KiB, as proxies let them pass: other clients are answered meanwhile"""
    four = b"".join(b"Prefer: " + b'"' * 8000 + b"\r\n" for _ in range(4))
    with socket.create_connection(("127.0.0.1", hostile.port), timeout=60) as one:
        with nobody_waits(hostile):
            one.sendall(HEAD + four + b"\r\n")
        assert one.recv(65536).startswith(b"HTTP/1.1 401 ")


@pytest.mark.parametrize(
    "pieces",
    [
        (HEAD + b"X: " + b"x" * 70_000 + b"\r\n\r\n",),
        (HEAD + b"".join(b"X-%d: %s\r\n" % (n, b"x" * 1000) for n in range(70)) + b"\r\n",),
        (HEAD + b"a:\r\n" * 2000 + b"\r\n",),
        (b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",),
        (HEAD + b"X: ", *[b"x" * 65_536] * 400),
        (b"GET /", *[b"x" * 65_536] * 400),
        (CREATE + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: ", *[b"x" * 65_536] * 400),
        (CREATE + b"Transfer-Encoding: chunked\r\n\r\n5;a=", *[b"x" * 65_536] * 400),
    ],
    ids=["one", "many", "tiny", "address", "endless", "endless-address", "trailer", "extension"],
)
def test_headers_are_bounded_as_they_arrive(
    attack: Attack, hostile: Live, pieces: tuple[bytes, ...]
) -> None:
    """headers of more than 64 KiB: 431 before they have ended, and the connection is closed"""
    answer = raw(hostile, *pieces)
    attack.judge(answer, 431, repr(pieces[0][:60]))
    assert answer.headers["connection"] == "close"
    assert answer.json()["code"] == "headers_too_large"


def test_headers_up_to_the_bound_pass(attack: Attack, hostile: Live) -> None:
    """headers of 60 KiB in all are read"""
    many = b"".join(b"X-%d: %s\r\n" % (number, b"x" * 600) for number in range(100))
    attack.judge(raw(hostile, HEAD + many + b"\r\n"), 401, "headers of 60 KiB")


def test_a_field_behind_the_body_is_no_header(attack: Attack, hostile: Live) -> None:
    """a trailer that names a token: not believed"""
    token = attack.user().http.headers["Authorization"].encode()
    request = CREATE + b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    trailer = b"0\r\nAuthorization: " + token + b"\r\n\r\n"
    attack.judge(raw(hostile, request + trailer), 401, "a trailer")
