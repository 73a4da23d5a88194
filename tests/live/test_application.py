"""`with_streams` around applications that know lifespans, and around those that do not."""

import asyncio
from collections.abc import Sequence

import pytest

from taskyard.live import with_streams
from taskyard.live.asgi import ASGIApp, Message, Receive, Scope, Send

pytestmark = pytest.mark.django_db(transaction=True)
EVENTS = ("lifespan.startup", "lifespan.shutdown")


def lifespan(application: ASGIApp) -> list[str]:
    """What a server gets that starts the application and stops it."""
    sent: list[str] = []
    events = iter([{"type": event} for event in EVENTS])

    async def receive() -> Message:
        return next(events)

    async def send(message: Message) -> None:
        sent.append(message["type"])

    asyncio.run(application({"type": "lifespan"}, receive, send))
    return sent


def test_the_applications_own_lifespan_runs() -> None:
    received: list[str] = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        for _ in EVENTS:
            message = await receive()
            received.append(message["type"])
            await send({"type": f"{message['type']}.complete"})

    assert lifespan(with_streams(application)) == [f"{event}.complete" for event in EVENTS]
    assert received == [*EVENTS]


def test_an_application_without_lifespans_starts_and_stops() -> None:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        raise ValueError(scope["type"])

    assert lifespan(with_streams(application)) == [f"{event}.complete" for event in EVENTS]


def test_a_failed_start_is_no_missing_lifespan() -> None:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        raise RuntimeError("the start failed")

    with pytest.raises(RuntimeError, match="the start failed"):
        lifespan(with_streams(application))


@pytest.mark.parametrize("kinds", [("http", "http"), ("websocket",)])
def test_all_other_requests_reach_the_application_without_a_lifespan(kinds: Sequence[str]) -> None:
    reached: list[str] = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        reached.append(scope["type"])

    async def main() -> None:
        wrapped = with_streams(application)
        for kind in kinds:
            scope = {"type": kind, "method": "GET", "path": "/other/", "headers": []}
            await wrapped(scope, None, None)  # type: ignore[arg-type]

    asyncio.run(main())
    assert reached == [*kinds]
