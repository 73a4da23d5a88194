"""A link in a live system: its stream, its end, and what the logs say of it."""

import time
from typing import Any

import httpx
import pytest

from tests.api_client import IN_HOST, LANGUAGE, ROOT
from tests.contract.client import User
from tests.contract.test_live import Reader, states
from tests.live_system import Live

pytestmark = pytest.mark.servers


def link(user: User, task_id: int, **options: Any) -> dict[str, Any]:
    answer = user.http.post(f"/tasks/{task_id}/share/", json=options)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def anybody(live: Live, token: str) -> httpx.Client:
    headers = {"Authorization": f"Bearer {token}", "Origin": "https://shop.example", **LANGUAGE}
    return httpx.Client(base_url=f"{live.url}{ROOT}shared", headers=headers, timeout=30)


def test_the_stream_of_a_link_shows_the_task_to_its_end(live: Live) -> None:
    user = User.register(live)
    task_id = user.submit("countdown", {"seconds": 1}, delay=1, tags=["private"])
    token = link(user, task_id)["token"]
    with anybody(live, token) as client:
        with client.stream("GET", "/events/") as response:
            assert response.status_code == 200
            headers = response.headers
            reader = Reader(response)
            events = list(reader)
        assert states(events) == ["pending", "in_progress", "completed"]
        assert events[-1].task["result"] == user.task(task_id)["result"]
        assert events[-1].task == client.get("/").json()
        assert "input_data" not in events[-1].task
        assert "private" not in str([event.task for event in events])
        # A reader that was cut goes on after the last event; then there is no more.
        done = client.get("/events/", headers={"Last-Event-ID": reader.last_id})
        assert (done.status_code, done.content) == (204, b"")
        assert client.get("/files/1/content/").status_code == 404
    assert headers["Access-Control-Allow-Origin"] == "*"
    assert headers["Cache-Control"] == "no-store"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert "set-cookie" not in headers
    # The stream shows that task and no other of the same owner.
    other = user.submit("countdown", {"seconds": 60}, delay=60)
    token = link(user, other)["token"]
    with anybody(live, token) as client, client.stream("GET", "/events/") as response:
        user.wait(user.sum(1, 2))
        user.http.post(f"/tasks/{other}/cancel/")
        assert states([*Reader(response)]) == ["pending", "cancelled"]


def test_the_stream_ends_in_the_moment_in_which_the_link_expires(live: Live) -> None:
    user = User.register(live)
    task_id = user.submit("countdown", {"seconds": 60}, delay=60)
    expires_in = 2
    began = time.monotonic()
    token = link(user, task_id, expires_in=expires_in)["token"]
    with anybody(live, token) as client:
        with client.stream("GET", "/events/") as response:
            events = list(Reader(response))
        lasted = time.monotonic() - began
        assert states(events) == ["pending"]
        # The token counts whole seconds, so the link may last up to one more.
        assert expires_in - 0.2 < lasted < expires_in + 2
        refused = [client.get(path) for path in ("/", "/events/", "/files/1/content/")]
        assert {answer.status_code for answer in refused} == {401}
        assert {answer.json()["code"] for answer in refused} == {"share_not_valid"}
        assert len({answer.content for answer in refused}) == 1


def test_no_log_has_a_token(live: Live) -> None:
    user = User.register(live)
    made = link(user, user.sum(1, 2))
    with anybody(live, made["token"]) as client:
        assert client.get("/").status_code == 200
        assert client.get("/events/").status_code == 200
        assert client.get("/files/1/content/").status_code == 404
        client.headers["Authorization"] += "A"
        assert client.get("/").status_code == 401
    if not IN_HOST:
        # As a browser opens it: without what is behind the #.
        page = httpx.get(made["url"], timeout=30)
        assert page.status_code == 200
        assert made["token"] not in page.text
        assert not page.cookies
        deadline = time.monotonic() + 10
        while "/shared/" not in live.log.read_text():
            assert time.monotonic() < deadline
            time.sleep(0.05)
    log = live.log.read_text()
    assert made["token"] not in log
    assert made["token"][5:30] not in log


def test_allowed_origins_close_no_link(new_live: type[Live]) -> None:
    """The setting for the rest of the API does not touch the addresses of links."""
    live = new_live(TASKYARD_CORS_ORIGINS="https://app.example.org")
    user = User.register(live)
    token = link(user, user.sum(1))["token"]
    asked = {
        "Origin": "https://shop.example",
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "authorization,last-event-id",
    }
    for path in ("/shared/", "/shared", "/shared/events/", "/shared/files/1/content/"):
        allowed = httpx.options(f"{live.url}/api{path}", headers=asked, timeout=30)
        assert allowed.headers["access-control-allow-origin"] == "*", path
        assert "access-control-allow-credentials" not in allowed.headers
    with anybody(live, token) as client:
        assert client.get("/").headers["access-control-allow-origin"] == "*"
    refused = httpx.options(f"{live.url}/api/tasks/", headers=asked, timeout=30)
    assert "access-control-allow-origin" not in refused.headers
