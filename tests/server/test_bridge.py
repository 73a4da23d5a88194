"""The WSGI adapter is a conforming WSGI server, tested over real sockets through uvicorn."""

import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
import uvicorn

from taskyard.server.wsgi_adapter import WSGIAdapter


class Streamed:
    """An iterable like those of Django's streaming responses."""

    streaming = True

    def __init__(self, chunks: Iterable[bytes], closed: threading.Event) -> None:
        self._chunks = chunks
        self._closed = closed

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._chunks)

    def close(self) -> None:
        self._closed.set()


class Application:
    """A WSGI application that keeps the last environ and answers by path."""

    def __init__(self) -> None:
        self.environ: dict[str, Any] = {}
        self.body = b""
        self.closed = threading.Event()
        self.released = threading.Event()

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        self.environ = environ
        self.body = environ["wsgi.input"].read()
        start(
            "200 OK", [("Content-Type", "text/plain"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")]
        )
        if environ["PATH_INFO"] == "/stream":
            return Streamed(self._chunks(), self.closed)
        return (
            Streamed([b"endless"] * 200_000, self.closed)
            if environ["PATH_INFO"] == "/long"
            else [b"answer"]
        )

    def _chunks(self) -> Iterator[bytes]:
        yield b"first"
        assert self.released.wait(10)
        yield b"second"


@pytest.fixture(scope="module")
def application() -> Application:
    return Application()


@pytest.fixture(scope="module")
def port(application: Application) -> Iterator[int]:
    bridge = WSGIAdapter(application, threads=2)
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(
        uvicorn.Config(bridge, http="httptools", lifespan="off", ws="none", log_config=None)
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield listener.getsockname()[1]
    server.should_exit = True
    thread.join(timeout=10)
    bridge.close()


@pytest.fixture
def client(port: int) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    yield connection
    connection.close()


def raw(port: int, request: bytes) -> bytes:
    """Send exactly these bytes; return all that the server sends until it closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(request)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def test_path_query_and_peer_arrive_as_wsgi_says(
    client: http.client.HTTPConnection, application: Application
) -> None:
    client.request("GET", "/caf%C3%A9/%D0%B0%2Fb?q=%D0%B0&x=1")
    assert client.getresponse().read() == b"answer"
    found = application.environ
    assert found["PATH_INFO"].encode("latin-1").decode() == "/café/а/b"
    assert found["QUERY_STRING"] == "q=%D0%B0&x=1"
    assert found["REMOTE_ADDR"] == "127.0.0.1"
    assert found["SERVER_PROTOCOL"] == "HTTP/1.1"


def test_bytes_that_are_no_utf8_arrive_untouched(
    client: http.client.HTTPConnection, application: Application
) -> None:
    client.request("GET", "/%FF")
    client.getresponse().read()
    assert application.environ["PATH_INFO"] == "/\xff"


def test_repeated_headers_are_joined_and_underscores_dropped(
    port: int, application: Application
) -> None:
    raw(
        port,
        b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-One: a\r\nX-One: b\r\n"
        b"Cookie: c=1\r\nCookie: d=2\r\nX_Forwarded_For: 6.6.6.6\r\n\r\n",
    )
    assert application.environ["HTTP_X_ONE"] == "a,b"
    assert application.environ["HTTP_COOKIE"] == "c=1; d=2"
    assert "HTTP_X_FORWARDED_FOR" not in application.environ


def test_repeated_answer_headers_stay_apart(client: http.client.HTTPConnection) -> None:
    client.request("GET", "/")
    response = client.getresponse()
    response.read()
    assert response.headers.get_all("set-cookie") == ["a=1", "b=2"]


def test_a_chunked_body_arrives_with_a_length(
    client: http.client.HTTPConnection, application: Application
) -> None:
    client.request("POST", "/", body=iter([b"one", b"two"]), encode_chunked=True)
    client.getresponse().read()
    assert application.body == b"onetwo"
    assert application.environ["CONTENT_LENGTH"] == "6"


def test_head_has_no_body_and_the_connection_goes_on(client: http.client.HTTPConnection) -> None:
    client.request("HEAD", "/")
    response = client.getresponse()
    assert (response.status, response.read()) == (200, b"")
    client.request("GET", "/")
    assert client.getresponse().read() == b"answer"


def test_a_stream_is_sent_as_it_comes_and_closed(
    client: http.client.HTTPConnection, application: Application
) -> None:
    application.closed.clear()
    application.released.clear()
    client.request("GET", "/stream")
    response = client.getresponse()
    assert response.read1() == b"first"
    assert not application.closed.is_set()
    application.released.set()
    assert response.read() == b"second"
    assert application.closed.wait(5)


def test_a_client_that_leaves_a_stream_frees_its_thread(
    port: int, application: Application
) -> None:
    for _ in range(3):  # more than there are threads
        application.closed.clear()
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.sendall(b"GET /long HTTP/1.1\r\nHost: x\r\n\r\n")
            connection.recv(100)
        assert application.closed.wait(20)


def test_a_client_that_leaves_before_its_body_is_whole_calls_nothing(
    port: int, application: Application
) -> None:
    application.environ = {}
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc")
    time.sleep(0.2)
    assert application.environ == {}
