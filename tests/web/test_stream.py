"""The event stream of the pages, over HTTP: it needs a session, sends ids, and misses nothing."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice

import httpx
import pytest

from tests.contract.client import PASSWORD, User
from tests.live_system import Live

pytestmark = pytest.mark.servers


@pytest.fixture
def user(live: Live) -> Iterator[User]:
    yield User.register(live)
    while User.opened:
        User.opened.pop().http.close()


@pytest.fixture
def session(live: Live, user: User) -> Iterator[httpx.Client]:
    """A client with the session of the same user."""
    with signed_in(live, user) as session:
        yield session


@contextmanager
def signed_in(live: Live, user: User) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=live.url, timeout=20) as client:
        client.get("/sign-in/")
        form = {"username": user.name, "password": PASSWORD}
        token = {"csrfmiddlewaretoken": client.cookies["csrftoken"]}
        assert client.post("/sign-in/", data={**form, **token}).status_code == 302
        yield client


def events(response: httpx.Response) -> Iterator[dict[str, str]]:
    fields: dict[str, str] = {}
    for line in response.iter_lines():
        name, _, value = line.partition(": ")
        if line:
            fields[name] = value
        else:
            if "data" in fields:
                yield fields
            fields = {}


def since(session: httpx.Client) -> str:
    (found,) = re.findall(r'/events/\?since=([^"]+)"', session.get("/tasks/").text)
    return str(found)


def test_it_tells_which_task_has_changed_and_no_more(session: httpx.Client, user: User) -> None:
    with session.stream("GET", f"/events/?since={since(session)}") as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.headers["content-security-policy"].startswith("default-src 'self'")
        assert "x-taskyard-owner" not in response.headers
        told = events(response)
        assert next(told) == {"event": "hints", "data": "here"}
        task_id = user.sum(424242)
        event = next(told)
        assert event["event"] == "task"
        assert set(json.loads(event["data"])) == {"id", "is"}
        assert json.loads(event["data"])["id"] == task_id


def test_what_happened_between_the_page_and_the_stream_is_told(
    session: httpx.Client, user: User
) -> None:
    position = since(session)
    task_ids = [user.sum(1), user.sum(2)]
    user.wait_for_all(task_ids, seconds=20)
    with session.stream("GET", f"/events/?since={position}") as response:
        told = [each for each in islice(events(response), 3) if each["event"] == "task"]
        assert {json.loads(each["data"])["id"] for each in told} == set(task_ids)
    # After a reconnect the stream resumes after the last event.
    later = user.sum(3)
    headers = {"Last-Event-ID": told[-1]["id"]}
    with session.stream("GET", f"/events/?since={position}", headers=headers) as response:
        again = next(each for each in events(response) if each["event"] == "task")
        assert json.loads(again["data"])["id"] == later


def test_anothers_changes_are_not_told(live: Live, session: httpx.Client) -> None:
    position = since(session)
    other = User.register(live)
    others = other.sum(1)
    other.wait(others)
    with signed_in(live, other) as theirs:
        assert str(others) in theirs.get("/tasks/").text
    with (
        pytest.raises(httpx.ReadTimeout),
        session.stream("GET", f"/events/?since={position}", timeout=2) as response,
    ):
        assert [each["event"] for each in events(response)] == ["hints"]


@pytest.mark.parametrize("cookie", ["", "x", "a" * 32])
def test_nobody_has_no_stream(live: Live, user: User, cookie: str) -> None:
    with httpx.Client(base_url=live.url, cookies={"sessionid": cookie}) as client:
        assert client.get("/events/").status_code == 302
        assert client.get("/events/", headers={"HX-Request": "true"}).status_code == 401
        # A token is not a session.
        token = {"Authorization": user.http.headers["Authorization"], "HX-Request": "true"}
        assert client.get("/events/", headers=token).status_code == 401
    # A session is not a token.
    with signed_in(live, user) as session:
        assert session.get("/api/tasks/events/").status_code == 401


def test_the_last_slash_and_head_are_as_for_every_page(session: httpx.Client) -> None:
    for path in ("/events", "/events/"):
        with session.stream("GET", path) as response:
            assert response.status_code == 200
            assert next(events(response))["event"] == "hints"
        head = session.head(path)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert "x-taskyard-owner" not in head.headers
    assert session.post("/events/").status_code == 403  # without a CSRF token


@pytest.mark.parametrize("position", ["x", "-1", "9" * 40, "%00", "1:2:3", "a/b/c"])
def test_a_strange_position_is_a_stream_from_now(session: httpx.Client, position: str) -> None:
    with session.stream("GET", f"/events/?since={position}") as response:
        assert response.status_code in (200, 400)
        assert (response.status_code == 400) == (position == "%00")


def test_no_letter_of_a_task_ends_a_line_of_a_stream(user: User) -> None:
    odd = "a\u0085b\u2028c\u2029d\r\n\v\f\x1c\x1d\x1e\x7f\\u2028"
    task_id = user.submit("echoes", {"text": odd})
    with user.http.stream("GET", f"/tasks/{task_id}/events/", timeout=30) as response:
        text = b"".join(response.iter_raw()).decode()
    lines = text.splitlines()
    assert lines == text.split("\n")[:-1]
    tasks = [json.loads(line[6:]) for line in lines if line.startswith("data: ")]
    assert tasks[-1]["input_data"]["text"] == tasks[-1]["result"] == odd
