"""The proxy injects each fault and recovers from it."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.faults.proxy import Mode, Proxy


@pytest.fixture
def echo() -> Iterator[Proxy]:
    """An echo server behind a proxy."""
    server = socket.create_server(("127.0.0.1", 0))

    def answer(one: socket.socket) -> None:
        with one, suppress(OSError):
            while piece := one.recv(100):
                one.sendall(piece)

    def serve() -> None:
        while True:
            try:
                one, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(one,), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    with Proxy(f"tcp://127.0.0.1:{server.getsockname()[1]}", delay_seconds=0.2) as proxy:
        yield proxy
    server.shutdown(socket.SHUT_RDWR)
    server.close()


def connect(proxy: Proxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=1)


def said(one: socket.socket, what: bytes = b"hello") -> bytes:
    one.sendall(what)
    return one.recv(100)


def test_it_passes(echo: Proxy) -> None:
    with connect(echo) as one:
        assert said(one) == b"hello"


def test_it_refuses_and_serves_again(echo: Proxy) -> None:
    with connect(echo) as one:
        assert said(one) == b"hello"
        echo.become(Mode.REFUSE)
        with pytest.raises(ConnectionResetError):
            one.recv(1)
    with pytest.raises(ConnectionRefusedError):
        connect(echo)
    echo.become(Mode.PASS)
    with connect(echo) as one:
        assert said(one) == b"hello"


def test_what_went_into_the_black_hole_comes_out_when_it_is_over(echo: Proxy) -> None:
    with connect(echo) as one:
        assert said(one) == b"hello"
        echo.become(Mode.BLACK_HOLE)
        with connect(echo) as another, pytest.raises(TimeoutError):
            said(another)
        with pytest.raises(TimeoutError):
            said(one)
        echo.become(Mode.PASS)
        assert one.recv(100) == b"hello"


def test_it_delays(echo: Proxy) -> None:
    echo.become(Mode.DELAY)
    with connect(echo) as one:
        began = time.monotonic()
        assert said(one) == b"hello"
        assert time.monotonic() - began >= 0.4


def test_it_throws_out_whoever_connects(echo: Proxy) -> None:
    echo.become(Mode.RESET)
    with pytest.raises((ConnectionResetError, BrokenPipeError)), connect(echo) as one:
        said(one)


def test_half_open_says_nothing_on_old_connections_only(echo: Proxy) -> None:
    with connect(echo) as one:
        assert said(one) == b"hello"
        echo.become(Mode.HALF_OPEN)
        with pytest.raises(TimeoutError):
            said(one)
        with connect(echo) as another:
            assert said(another) == b"hello"
