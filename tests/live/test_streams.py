"""The view decides whether a user may have a stream, before it begins and while it is open."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.db import connection

from taskyard.api.shared import SharedStreams
from taskyard.api.streams import TaskStreams
from taskyard.core import lifecycle, sharing
from taskyard.core.models import Task
from taskyard.core.types import NewTask
from taskyard.live import streams
from taskyard.live.asgi import FROM_LIVE, ASGIApp, Message, Receive, Response, Scope, Send
from taskyard.live.hub import Hub
from taskyard.server.wsgi_adapter import WSGIAdapter
from tests.api_client import IN_HOST, ROOT, SCHEME
from tests.people import access_of, new_user

pytestmark = pytest.mark.django_db(transaction=True)
EVENTS = f"{ROOT}tasks/events/"


@pytest.fixture
def user(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(streams, "PING_SECONDS", 0.05)
    monkeypatch.setattr(streams, "AUTHORIZE_SECONDS", 0.2)
    return new_user("owner")


@contextmanager
def application() -> Iterator[ASGIApp]:
    """Django as the project of the run serves it."""
    if IN_HOST:
        asgi_handler: Any = ASGIHandler()
        yield asgi_handler
        return
    handler = WSGIHandler()
    # The thread's connection would outlive the test's database.
    bridge = WSGIAdapter(lambda *request: _and_close(lambda: handler(*request)), threads=1)
    try:
        yield bridge
    finally:
        bridge.close()


def ends_when(
    happens: Callable[[], object],
    authorization: str,
    *,
    seconds: float,
    path: str = EVENTS,
    endpoint: type[TaskStreams] = TaskStreams,
    subject: bytes = b"",
) -> bool:
    """Whether an open stream ends after an event."""
    acting = [(b"on-behalf-of", subject)] if subject else []
    said: list[Message] = []

    async def main(app: ASGIApp) -> bool:
        hub = Hub(None)
        hub.start()
        gone = asyncio.Event()

        async def receive() -> Message:
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            said.append(message)

        scope = {
            "type": "http",
            "method": "GET",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "scheme": "http",
            "http_version": "1.1",
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
            "headers": [
                (b"host", b"localhost"),
                (b"authorization", authorization.encode()),
                *acting,
            ],
        }
        stream = asyncio.create_task(endpoint(hub, app)(scope, receive, send))
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
            # A cancelled call of the view would leave its connection to the database open.
            gone.set()
            await asyncio.wait_for(stream, 20)
            await hub.stop()

    with application() as app:
        return asyncio.run(main(app))


def new_key(user: Any) -> str:
    from taskyard.accounts import keys
    from taskyard.accounts.new_key import NewKey
    from taskyard.accounts.scopes import Scope

    return keys.create(user, NewKey(name="live", scopes=[Scope.TASKS_READ]))[1]


def _and_close(happens: Callable[[], Any]) -> Any:
    try:
        return happens()
    finally:
        connection.close()


def revoke_the_key(user: Any) -> None:
    from taskyard.accounts import keys

    (key,) = keys.of_user(user)
    assert keys.revoke(user, key.pk)


def suspend(user: Any) -> None:
    from taskyard.accounts import suspension

    admin = type(user).objects.create_superuser("admin", password="a password of many words")
    suspension.suspend(user, by=admin)


def change_the_password(user: Any) -> None:
    user.set_password("another password of many words")
    user.save()


def delete_the_token(user: Any) -> None:
    user.auth_token.delete()


# In the host project a new password leaves the token valid, and users are never suspended.
WITHDRAWALS = (
    [(access_of, delete_the_token)]
    if IN_HOST
    else [
        *((access_of, withdraw) for withdraw in (suspend, change_the_password)),
        *((new_key, withdraw) for withdraw in (suspend, revoke_the_key)),
    ]
)


@pytest.mark.parametrize(("token_of", "withdraw"), WITHDRAWALS)
def test_it_ends_when_the_credentials_are_withdrawn(
    user: Any, token_of: Callable[[Any], str], withdraw: Callable[[Any], None]
) -> None:
    authorization = f"{SCHEME} {token_of(user)}"
    assert ends_when(lambda: withdraw(user), authorization, seconds=5)


def test_it_goes_on_where_nothing_has_happened(user: Any) -> None:
    assert not ends_when(lambda: None, f"{SCHEME} {access_of(user)}", seconds=1)


def delete_the_task(user: Any) -> None:
    Task.objects.filter(owner_id=user.pk).delete()


# Users of the host project are never suspended.
ENDS_OF_LINKS = [change_the_password, delete_the_task, *([] if IN_HOST else [suspend])]


@pytest.mark.parametrize("end", [None, *ENDS_OF_LINKS])
def test_that_of_a_link_ends_with_the_link(user: Any, end: Callable[[Any], None] | None) -> None:
    new = NewTask(task_type="sum", queue="default", input_data={"numbers": [1]})
    task = lifecycle.submit(user.pk, new)
    link = sharing.create(task, user, seconds=3600, files=False)
    has_ended = ends_when(
        lambda: end(user) if end else None,
        f"Bearer {link.token}",
        seconds=5 if end else 1,
        path=f"{ROOT}shared/events/",
        endpoint=SharedStreams,
    )
    assert has_ended == bool(end)


@pytest.mark.parametrize("by_token", [True, False])
def test_the_stream_of_a_subject_ends_with_its_key(user: Any, by_token: bool) -> None:
    from taskyard.accounts import keys
    from tests.service_accounts import new_account, new_backend

    account = new_account()
    backend = new_backend(account)
    (key,) = keys.of_user(account.user)
    token = str(backend.post("subjects/one/token/").json()["access"])

    def revoke() -> None:
        assert keys.revoke(account.user, key.pk)

    if by_token:
        assert not ends_when(lambda: None, f"{SCHEME} {token}", seconds=1)
        assert ends_when(revoke, f"{SCHEME} {token}", seconds=5)
    else:
        authorization = f"{SCHEME} {backend.access}"
        assert ends_when(revoke, authorization, seconds=5, subject=b"one")


def test_the_views_200_is_never_sent_to_a_client() -> None:
    """The application refuses if the token has expired since the check."""
    sent: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await Response(200 if FROM_LIVE in scope else 401, [], b"").send_to(send)

    async def receive() -> Message:
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": EVENTS, "headers": []}
    asyncio.run(TaskStreams(Hub(None), app)(scope, receive, send))
    assert [message.get("status") for message in sent] == [401, None]
    assert FROM_LIVE not in scope
