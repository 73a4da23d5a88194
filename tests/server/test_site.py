"""Middleware of the live system, tested from outside."""

import time
from collections.abc import Callable, Iterator

import httpx
import pytest

from tests.live_system import Live

pytestmark = pytest.mark.servers


@pytest.fixture(scope="module")
def client(live: Live) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=live.url, timeout=20) as client:
        yield client


def test_it_is_alive_and_ready(client: httpx.Client) -> None:
    assert client.get("/livez").json() == {"status": "ok"}
    parts = dict.fromkeys(("status", "database", "broker", "files"), "ok")
    assert client.get("/readyz").json() == parts


def test_a_usable_request_id_comes_back(client: httpx.Client) -> None:
    answer = client.get("/api/tasks/", headers={"X-Request-ID": "abc-123"})
    assert answer.headers["x-request-id"] == "abc-123"


@pytest.mark.parametrize("given", ["", "a b", "é".encode(), "x" * 129])
def test_an_unusable_request_id_is_replaced(client: httpx.Client, given: str | bytes) -> None:
    answer = client.get(
        "/livez", headers=[(b"X-Request-ID", given.encode() if isinstance(given, str) else given)]
    )
    assert len(answer.headers["x-request-id"]) == 32


@pytest.mark.parametrize(
    "charset", ["base64", "rot13", "undefined", "utf-7", "unicode_escape", "no-such"]
)
def test_an_address_is_utf_8_whatever_charset_is_named(client: httpx.Client, charset: str) -> None:
    headers = {"Content-Type": f"text/plain; charset={charset}", "X-Request-ID": "abc-123"}
    for query in ("a=1", "tag=%2BAAA-", "tag=%5Cud800"):
        answer = client.get(f"/api/tasks/?{query}", headers=headers)
        assert answer.status_code == 401, answer.text
        assert answer.headers["x-request-id"] == "abc-123"
        assert client.get(f"/tasks/?{query}", headers=headers).status_code == 302
    form = {"Content-Type": f"multipart/form-data; boundary=x; charset={charset}"}
    assert client.post("/sign-in/", content=b"--x--", headers=form).status_code == 403


def test_an_unknown_address_of_the_api_is_json(client: httpx.Client) -> None:
    answer = client.get("/api/no-such-thing")
    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("application/json")


def test_an_unknown_host_is_refused(client: httpx.Client) -> None:
    assert client.get("/api/docs/", headers={"Host": "evil.example"}).status_code == 400
    # A probe may use any address.
    assert client.get("/livez", headers={"Host": "10.0.0.7"}).status_code == 200


def test_a_body_beyond_every_limit_is_413(client: httpx.Client) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(9):
            yield b"x" * 1024 * 1024

    answer = client.post("/api/register/", content=endless())
    assert answer.status_code == 413
    assert answer.json()["detail"]


@pytest.mark.parametrize(
    "path",
    [
        "/static/admin/css/base.css",
        "/static/drf_spectacular_sidecar/swagger-ui-dist/swagger-ui-bundle.js",
    ],
)
def test_static_files_are_served_without_being_collected(client: httpx.Client, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 200
    assert len(answer.content) == int(answer.headers["content-length"])
    head = client.head(path)
    assert (head.status_code, head.content) == (200, b"")


def test_the_admin_asks_for_a_login(client: httpx.Client) -> None:
    answer = client.get("/admin", follow_redirects=True)
    assert answer.status_code == 200
    assert "csrfmiddlewaretoken" in answer.text


def test_the_api_sets_no_cookie(client: httpx.Client) -> None:
    assert "set-cookie" not in client.get("/api/docs/").headers
    assert "set-cookie" not in client.get("/api/tasks/").headers


def test_readiness_needs_no_broker_and_says_how_it_stands(new_live: Callable[..., Live]) -> None:
    live = new_live()
    with httpx.Client(base_url=live.url, timeout=20) as client:
        live.stop_broker()
        began = time.monotonic()
        answer = client.get("/readyz")
        assert time.monotonic() - began < 3
        assert answer.status_code == 200
        parts = {"database": "ok", "broker": "away", "files": "ok"}
        assert answer.json() == {"status": "ok", **parts}
        live.start_broker()
        deadline = time.monotonic() + 15
        while client.get("/readyz").json()["broker"] != "ok":
            assert time.monotonic() < deadline
            time.sleep(0.1)
