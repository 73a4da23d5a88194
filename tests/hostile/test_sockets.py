"""Clients that are slow on purpose."""

import contextlib
import socket
import time

import httpx
import pytest

from tests.hostile.attack import Attack
from tests.live_system import Live

pytestmark = pytest.mark.servers
SOCKETS = 500
REQUESTS = 200


def test_slow_loris(attack: Attack, hostile: Live) -> None:
    """500 slow-loris sockets: other clients are answered as before"""
    user = attack.user()
    before = _p99(attack, hostile, user.http.headers["Authorization"])
    heads = (
        b"GET /api/tasks/ HTTP/1.1\r\nHost: localhost\r\nX-Slow: ",
        b"POST /api/register/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b'Content-Length: 1000\r\n\r\n{"username":"',
    )
    with contextlib.ExitStack() as stack:
        slow = []
        for number in range(SOCKETS):
            connection = socket.create_connection(("127.0.0.1", hostile.port), timeout=10)
            slow.append(stack.enter_context(connection))
            connection.sendall(heads[number % 2])
        during = _p99(attack, hostile, user.http.headers["Authorization"], slow)
    attack.note(
        f"p99 {before * 1000:.0f} ms without, {during * 1000:.0f} ms with them "
        f"({during / before:.1f} times; promised: below 2)"
    )
    assert (
        attack.books.execute("SELECT count(*) FROM taskyard_accounts_user WHERE username = ''")[0][
            0
        ]
        == 0
    )


def _p99(
    attack: Attack, live: Live, authorization: str, slow: list[socket.socket] | None = None
) -> float:
    seconds = []
    headers = {"Authorization": authorization}
    with httpx.Client(base_url=live.url, headers=headers, timeout=20) as client:
        for number in range(REQUESTS):
            if slow:
                slow[number % SOCKETS].sendall(b"x")
            begun = time.perf_counter()
            answer = client.get("/api/limits/")
            seconds.append(time.perf_counter() - begun)
            attack.judge(answer, 200, "a normal request")
    return sorted(seconds)[int(REQUESTS * 0.99) - 1]
