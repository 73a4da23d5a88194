"""Hints reach all subscribers over a real Redis, and nothing hangs without Redis."""

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from taskyard.core import lifecycle
from taskyard.core.conf import conf
from taskyard.core.hints import Hint, parse, publish
from taskyard.core.redis import breaker
from taskyard.core.states import Status
from taskyard.core.types import NewTask, UserId
from taskyard.live.hub import Hub
from tests.configured import configure

pytestmark = pytest.mark.django_db(transaction=True)


def run(url: str | None, test: Callable[[Hub], Awaitable[None]]) -> None:
    async def main() -> None:
        hub = Hub(url)
        hub.start()
        try:
            await asyncio.sleep(0.3)
            await test(hub)
        finally:
            await hub.stop()

    asyncio.run(main())


async def told(*changes: tuple[Any, int, Status]) -> None:
    await asyncio.to_thread(publish, changes)


async def eventually(true: Callable[[], bool], seconds: float = 3) -> None:
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.01)


def test_a_hint_reaches_its_owners_listeners_and_nobody_else() -> None:
    async def test(hub: Hub) -> None:
        mine: list[Hint] = []
        other: list[Hint] = []
        async with hub.listen(1, mine.append), hub.listen(2, other.append):
            await told((1, 5, Status.PENDING), (1, 5, Status.COMPLETED), (3, 6, Status.ERROR))
            await eventually(lambda: {5: "completed"} in mine)
            assert [hint for hint in other if hint is not None] == []
            await told(*((2, task_id, Status.PENDING) for task_id in range(200)))
            await eventually(lambda: other != [])
        mine.clear()
        await told((1, 7, Status.PENDING))
        await asyncio.sleep(0.2)
        assert mine == []

    run(conf().BROKER_URL, test)


@pytest.mark.parametrize(
    ("owner_id", "another"),
    [
        (uuid.UUID(int=1), uuid.UUID(int=2)),
        ("a:1", "b:1"),
        ("Ключ", "1"),
    ],
)
def test_an_owner_has_any_kind_of_key(owner_id: Any, another: Any) -> None:
    async def test(hub: Hub) -> None:
        mine: list[Hint] = []
        other: list[Hint] = []
        async with hub.listen(owner_id, mine.append), hub.listen(another, other.append):
            await told((owner_id, 5, Status.PENDING), (None, 6, Status.PENDING))
            await eventually(lambda: {5: "pending"} in mine)
            assert [hint for hint in other if hint is not None] == []
        assert {6: "pending"} not in mine

    run(conf().BROKER_URL, test)


def test_without_redis_listeners_are_woken_by_polls() -> None:
    async def test(hub: Hub) -> None:
        mine: list[Hint] = []
        started = time.monotonic()
        async with hub.listen(1, mine.append):
            assert time.monotonic() - started < 0.1
            await eventually(lambda: mine == [None])

    run(None, test)


def test_a_change_without_a_hint_is_found_unless_it_is_known(owner_id: UserId) -> None:
    new = NewTask("sum", "default", {"numbers": [1]})

    async def test(hub: Hub) -> None:
        uninformed: list[Hint] = []
        informed: list[Hint] = []
        async with (
            hub.listen(owner_id, uninformed.append),
            hub.listen(owner_id, informed.append, lambda change: True),
        ):
            await eventually(lambda: None in uninformed)
            await asyncio.sleep(2)  # the first poll after a new owner notifies all subscribers
            uninformed.clear()
            informed.clear()
            await hub.run_in_thread(lifecycle.submit, owner_id, new)
            await eventually(lambda: None in uninformed)
            assert informed == []

    run(None, test)


def test_who_waits_is_let_go_when_the_process_stops() -> None:
    async def test(hub: Hub) -> None:
        mine: list[Hint] = []
        async with hub.listen(1, mine.append):
            mine.clear()
            hub.release_waiters()
            assert mine == [None]
            assert hub.stopping

    run(conf().BROKER_URL, test)


def test_telling_never_fails_and_soon_takes_no_time(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(settings, BROKER_URL="redis://127.0.0.1:1/0")
    monkeypatch.setattr(breaker, "_closed_again_at", 0.0)
    publish([(1, 1, Status.PENDING)])
    started = time.monotonic()
    publish([(1, 1, Status.PENDING)])
    assert time.monotonic() - started < 0.05
    publish([])


@pytest.mark.parametrize("payload", [b"", b"*", b'"*"', b"[1]", b'{"a": "b"}', b"\xff"])
def test_what_cannot_be_read_says_that_anything_may_have_changed(payload: bytes) -> None:
    assert parse(payload) is None
