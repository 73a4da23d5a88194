"""The WSGI view decides whether a user may have a stream, before it begins and while it is open."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from django.core.handlers.wsgi import WSGIHandler
from django.db import connection

from taskyard.accounts import suspension, tokens
from taskyard.accounts.models import User
from taskyard.api.streams import TaskStreams
from taskyard.live import streams
from taskyard.live.asgi import FROM_LIVE, Message, Receive, Response, Scope, Send
from taskyard.live.hub import Hub
from taskyard.server.wsgi_adapter import WSGIAdapter

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def user(monkeypatch: pytest.MonkeyPatch) -> User:
    monkeypatch.setattr(streams, "PING_SECONDS", 0.05)
    monkeypatch.setattr(streams, "AUTHORIZE_SECONDS", 0.2)
    return User.objects.create_user("owner", password="a password of many words")


def ends_when(happens: Callable[[], object], user: User, *, seconds: float) -> bool:
    """Whether an open stream ends after an event."""
    access = tokens.issue(user).access
    said: list[Message] = []

    async def main() -> bool:
        hub = Hub(None)
        hub.start()
        handler = WSGIHandler()
        # The thread's connection would outlive the test's database.
        bridge = WSGIAdapter(
            lambda *request: _and_close(lambda: handler(*request)), threads=1, max_body=1000
        )
        never = asyncio.Event()

        async def receive() -> Message:
            await never.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            said.append(message)

        scope = {
            "type": "http",
            "method": "GET",
            "path": "/api/tasks/events/",
            "raw_path": b"/api/tasks/events/",
            "query_string": b"",
            "scheme": "http",
            "http_version": "1.1",
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
            "headers": [(b"host", b"localhost"), (b"authorization", f"Bearer {access}".encode())],
        }
        stream = asyncio.create_task(TaskStreams(hub, bridge)(scope, receive, send))
        try:
            async with asyncio.timeout(20):
                while not said:
                    await asyncio.sleep(0.05)
            assert said[0]["status"] == 200
            await asyncio.sleep(0.6)
            assert not stream.done()
            await asyncio.to_thread(_and_close, happens)
            await asyncio.wait([stream], timeout=seconds)
            return stream.done()
        finally:
            stream.cancel()
            await hub.stop()
            bridge.close()

    return asyncio.run(main())


def _and_close(happens: Callable[[], Any]) -> Any:
    try:
        return happens()
    finally:
        connection.close()


def test_it_ends_when_its_user_is_suspended(user: User) -> None:
    admin = User.objects.create_superuser("admin", password="a password of many words")
    assert ends_when(lambda: suspension.suspend(user, by=admin), user, seconds=5)


def test_it_ends_when_the_password_is_another(user: User) -> None:
    def change() -> None:
        user.set_password("another password of many words")
        user.save()

    assert ends_when(change, user, seconds=5)


def test_it_goes_on_where_nothing_has_happened(user: User) -> None:
    assert not ends_when(lambda: None, user, seconds=1)


def test_the_views_200_is_never_sent_to_a_client() -> None:
    """The application refuses if the token has expired since the check."""
    sent: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await Response(200 if FROM_LIVE in scope else 401, [], b"").send_to(send)

    async def receive() -> Message:
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/api/tasks/events/", "headers": []}
    asyncio.run(TaskStreams(Hub(None), app)(scope, receive, send))
    assert [message.get("status") for message in sent] == [401, None]
    assert FROM_LIVE not in scope
