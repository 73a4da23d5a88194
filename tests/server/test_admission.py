"""Limits on bodies and threads for requests whose user is not known yet."""

import contextlib
import http.client
import json
import re
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.conftest import USUAL, start_live
from tests.contract.client import User
from tests.live_system import Live

pytestmark = pytest.mark.servers
KIB = 1024
LARGE = b"/static/drf_spectacular_sidecar/swagger-ui-dist/swagger-ui-bundle.js"
SUM = {"task_type": "sum", "input_data": {"numbers": [1] * 9000}}


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    environment = {
        **USUAL,
        "TASKYARD_HASHING_THREADS": "1",
        "TASKYARD_HASHING_QUEUE": "6",
        "TASKYARD_STALL_SECONDS": "1",
        "TASKYARD_BODY_BYTES": "33554432",
        "TASKYARD_UNREAD_BYTES": "1048576",
        "TASKYARD_TRUSTED_PROXIES": "1",
    }
    with contextlib.ExitStack() as stack:
        yield start_live(stack, tmp_path_factory.mktemp("admission"), environment)


def declared(live: Live, head: bytes, size: int, sent: bytes = b"") -> socket.socket:
    """Open a connection that declares a body of this size and sends less."""
    connection = socket.create_connection(("127.0.0.1", live.port), timeout=20)
    connection.sendall(
        head + b" HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (size, sent)
    )
    return connection


def answer_of(connection: socket.socket) -> tuple[int, dict[str, Any]]:
    response = http.client.HTTPResponse(connection)
    response.begin()
    return response.status, json.loads(response.read())


def bearer(user: User) -> bytes:
    return b" HTTP/1.1\r\nAuthorization: " + user.http.headers["Authorization"].encode() + b"\r\nX:"


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        (b"POST /api/tasks/create/", 401, "not_authenticated"),
        (b"POST /api/tasks/bulk/", 401, "not_authenticated"),
        (b"PATCH /api/me/", 401, "not_authenticated"),
        (b"POST /api/register/", 413, "too_large"),
        (b"POST /api/token/", 413, "too_large"),
        (b"POST /api/token/verify/", 413, "too_large"),
    ],
)
def test_a_body_without_a_chance_is_not_waited_for(
    system: Live, path: bytes, status: int, code: str
) -> None:
    for size in (17 * KIB, 200 * KIB, 7 * KIB * KIB, 10**12):
        with declared(system, path, size, b"{") as connection:
            found, told = answer_of(connection)
            assert (found, told["code"]) == (status, code)
            assert connection.recv(1) == b""


def test_with_a_token_a_body_is_read_up_to_its_addresses_limit(system: Live) -> None:
    user = User.register(system)
    assert user.http.post("/tasks/create/", json=SUM | {"delay": 60}).status_code == 201
    with declared(system, b"POST /api/tasks/create/" + bearer(user), 257 * KIB) as connection:
        assert answer_of(connection)[0] == 413
    many = [SUM | {"delay": 60}] * 30
    refused = user.http.post("/tasks/bulk/", json={"tasks": many})
    assert refused.json()["code"] == "active_limit_exceeded"


def test_a_key_that_no_process_has_seen_is_read_like_a_token(system: Live) -> None:
    user = User.register(system)
    for body in (SUM | {"delay": 60}, {"tasks": [SUM | {"delay": 60}] * 2}):
        key = user.http.post("/keys/", json={"name": "x", "scopes": ["tasks:submit"]}).json()["key"]
        path = "/api/tasks/bulk/" if "tasks" in body else "/api/tasks/create/"
        headers = {"Authorization": f"Bearer {key}"}
        created = httpx.post(f"{system.url}{path}", json=body, headers=headers, timeout=30)
        assert created.status_code == 201, created.text
    unknown = f"ty_{'a' * 8}_{secrets.token_hex(32)}".encode()
    head = b"POST /api/tasks/bulk/ HTTP/1.1\r\nAuthorization: Bearer " + unknown + b"\r\nX:"
    with declared(system, head, 200 * KIB, b"{") as connection:
        status, told = answer_of(connection)
        assert (status, told["code"]) == (401, "token_not_valid")


def test_a_chunked_body_is_read_like_another(system: Live) -> None:
    user = User.register(system)
    for size in (1, 15, 17, 65, 200):
        body = json.dumps(SUM | {"delay": 60}).encode() + b" " * (size * KIB)
        pieces = (body[at : at + 5000] for at in range(0, len(body), 5000))
        created = user.http.post(
            "/tasks/create/", content=pieces, headers={"Content-Type": "application/json"}
        )
        assert created.status_code == 201, created.text
    endless = (b" " * 60_000 for _ in range(200))
    refused = user.http.post(
        "/tasks/create/", content=endless, headers={"Content-Type": "application/json"}
    )
    assert refused.status_code == 413


def test_a_form_that_is_too_large_is_told_so_in_a_page(system: Live) -> None:
    for path in ("/sign-in/", "/register/", "/admin/login/"):
        answer = httpx.post(f"{system.url}{path}", data={"username": "x" * 20_000})
        assert answer.status_code == 413
        assert "<h1>Форма слишком большая.</h1>" in answer.text
    page = httpx.post(f"{system.url}/tasks/new/sum/", data={"x": "x" * 1_100_000})
    assert page.status_code == 413


def test_the_bodies_of_an_address_have_a_budget(system: Live) -> None:
    """When the budget of one address is used up, another address still has its own."""
    user = User.register(system)
    head = b"POST /api/tasks/bulk/" + bearer(user)
    mine, others = (b" a\r\nX-Forwarded-For: 203.0.113.%d\r\nY:" % number for number in (7, 8))
    held = [declared(system, head + mine, 4 * KIB * KIB, b"{") for _ in range(2)]
    time.sleep(0.2)
    with declared(system, head + mine, 4 * KIB * KIB, b"{") as connection:
        status, told = answer_of(connection)
        assert (status, told["code"]) == (503, "busy")
    with declared(system, head + others, 300 * KIB, b"{" + b" " * 300 * KIB) as connection:
        assert answer_of(connection)[0] == 400
    for connection in held:
        connection.close()
    time.sleep(0.2)
    with declared(system, head + mine, 300 * KIB, b"{" + b" " * 300 * KIB) as connection:
        assert answer_of(connection)[0] == 400


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET /livez HTTP/1.1\r\nHost: a\r\nX: ",
        b"POST /api/token/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{",
    ],
    ids=["nothing", "headers", "body"],
)
def test_a_slow_sender_is_cut(system: Live, sent: bytes) -> None:
    with socket.create_connection(("127.0.0.1", system.port), timeout=20) as connection:
        connection.sendall(sent)
        stopped = threading.Event()

        def drip() -> None:
            while sent and not stopped.wait(0.2):
                try:
                    connection.sendall(b"x")
                except OSError:
                    return

        thread = threading.Thread(target=drip)
        thread.start()
        told = connection.recv(65536)
        stopped.set()
        thread.join()
    assert told.startswith(b"HTTP/1.1 408 ")


def test_a_client_that_reads_nothing_is_cut(system: Live) -> None:
    """Responses to a slow reader are not kept, neither while they are sent nor afterwards."""
    size = len(httpx.get(f"{system.url}{LARGE.decode()}").content)
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(20)
        connection.connect(("127.0.0.1", system.port))
        connection.sendall(b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % LARGE * 20)
        time.sleep(4)
        received = 0
        with contextlib.suppress(ConnectionResetError):
            while piece := connection.recv(65536):
                received += len(piece)
    assert 0 < received < 10 * size  # the kernel buffers some


def test_logins_wait_for_each_other_and_nobody_for_them(system: Live) -> None:
    """Eight clients log in under ever new names: some get a 503, other clients are served."""
    statuses: list[int] = []
    stopped = threading.Event()

    def log_in() -> None:
        with httpx.Client(base_url=system.url, timeout=60) as client:
            while not stopped.is_set():
                body = {"username": secrets.token_hex(8), "password": "password123"}
                statuses.append(client.post("/api/token/", json=body).status_code)

    with ThreadPoolExecutor(8) as pool:
        attackers = [pool.submit(log_in) for _ in range(8)]
        try:
            time.sleep(1)
            for _ in range(20):
                begun = time.monotonic()
                assert httpx.get(f"{system.url}/api/schema/", timeout=60).status_code == 200
                assert time.monotonic() - begun < 5
        finally:
            stopped.set()
    for attacker in attackers:
        attacker.result()
    assert set(statuses) == {401, 503}


def test_who_is_told_to_come_again_is_told_when(system: Live) -> None:
    def register(_: int) -> httpx.Response:
        body = {"username": secrets.token_hex(8), "password": "password123"}
        return httpx.post(f"{system.url}/api/register/", json=body, timeout=60)

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(register, range(16)))
    assert {answer.status_code for answer in answers} == {201, 503}
    (refused, *_) = (answer for answer in answers if answer.status_code == 503)
    assert refused.headers["Retry-After"] == "1"
    assert refused.json()["code"] == "busy"
    assert refused.headers["X-Content-Type-Options"] == "nosniff"


def test_the_admin_is_no_way_round_the_throttle(new_live: Any) -> None:
    live = new_live(TASKYARD_LOGIN_RATE="3/min")
    with httpx.Client(base_url=live.url) as browser:

        def log_in(username: str) -> httpx.Response:
            page = browser.get("/admin/login/?next=/admin/").text
            (token,) = re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', page)
            form = {"username": username, "password": "wrong", "csrfmiddlewaretoken": token}
            return browser.post("/admin/login/?next=/admin/", data=form)

        assert [log_in("root").status_code for _ in range(3)] == [200] * 3
        refused = log_in("root")
        assert refused.status_code == 429
        assert 0 < int(refused.headers["Retry-After"]) <= 60
        assert "csrfmiddlewaretoken" in refused.text
        # All ways to log in share one throttle.
        body = {"username": "root", "password": "wrong"}
        assert httpx.post(f"{live.url}/api/token/", json=body).status_code == 429
        assert log_in("other").status_code == 200
        moved = browser.get("/admin/password_change/")
        assert moved.status_code == 302
