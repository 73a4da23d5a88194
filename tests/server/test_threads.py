"""One client's waiting requests leave threads for other clients."""

import asyncio
import threading
import time
from functools import partial

from taskyard.server.threads import SLOW_SECONDS, SPARE, Threads, client_key

MOST = 2


async def begin(
    threads: Threads, client: bytes, over: threading.Event, count: int
) -> list[asyncio.Task[bool]]:
    tasks = [asyncio.create_task(threads.run(client, over.wait)) for _ in range(count)]
    await asyncio.sleep(SLOW_SECONDS * (count + 2))
    return tasks


def test_requests_that_wait_leave_others_their_threads() -> None:
    async def play() -> None:
        threads, over = Threads(MOST), threading.Event()
        tasks = await begin(threads, b"stuck", over, 10)
        for client in (b"one", b"other"):
            async with asyncio.timeout(1):
                assert await threads.run(client, lambda: "answered") == "answered"
        over.set()
        await asyncio.gather(*tasks)
        threads.close()

    asyncio.run(play())


def test_a_client_has_no_more_threads_than_its_share() -> None:
    async def play() -> None:
        threads, over = Threads(MOST), threading.Event()
        tasks = await begin(threads, b"stuck", over, MOST)
        begun = threading.Event()
        late = asyncio.create_task(threads.run(b"stuck", begun.set))
        await asyncio.sleep(2 * SLOW_SECONDS)
        assert not begun.is_set()
        others = [await begin(threads, str(n).encode(), over, 1) for n in range(MOST * (SPARE - 1))]
        over.set()
        await asyncio.gather(late, *tasks, *(task for each in others for task in each))
        assert not threads._clients
        threads.close()

    asyncio.run(play())


def test_quick_requests_use_the_ordinary_threads_only() -> None:
    async def play() -> set[str]:
        threads = Threads(MOST)
        names = await asyncio.gather(*(threads.run(b"%d" % (n % 3), name_of) for n in range(200)))
        threads.close()
        return set(names)

    def name_of() -> str:
        return threading.current_thread().name

    assert len(asyncio.run(play())) <= MOST


def test_spare_threads_end_with_the_last_request_that_waits() -> None:
    async def play() -> None:
        threads, over = Threads(MOST), threading.Event()
        tasks = [await begin(threads, b"%d" % n, over, 1) for n in range(MOST + 1)]
        assert spare_threads()
        over.set()
        await asyncio.gather(*(task for each in tasks for task in each))
        async with asyncio.timeout(10):
            while spare_threads():
                await asyncio.sleep(0.01)
        assert await threads.run(b"after", lambda: "answered") == "answered"
        threads.close()

    def spare_threads() -> list[str]:
        return [each.name for each in threading.enumerate() if each.name.startswith("spare")]

    asyncio.run(play())


def test_who_gave_up_waiting_takes_no_turn_of_others() -> None:
    async def play() -> None:
        threads, over = Threads(MOST), threading.Event()
        tasks = await begin(threads, b"stuck", over, MOST)
        called = threading.Event()
        gone = asyncio.create_task(threads.run(b"stuck", called.set))
        await asyncio.sleep(0)
        gone.cancel()
        over.set()
        await asyncio.gather(*tasks)
        assert await threads.run(b"stuck", lambda: "answered") == "answered"
        threads.close()
        assert not called.is_set()
        assert not threads._clients

    asyncio.run(play())


def test_an_error_is_the_callers_and_costs_no_thread() -> None:
    def fail() -> None:
        raise ZeroDivisionError

    async def play() -> None:
        threads = Threads(MOST)
        found = await asyncio.gather(
            *(threads.run(b"x", fail) for _ in range(10)), return_exceptions=True
        )
        assert {type(each) for each in found} == {ZeroDivisionError}
        threads.close()

    asyncio.run(play())


def test_requests_that_end_one_after_the_other_keep_their_order() -> None:
    async def play() -> None:
        threads = Threads(1)
        order: list[int] = []

        def one(number: int) -> None:
            time.sleep(0.001)
            order.append(number)

        await asyncio.gather(*(threads.run(b"x", partial(one, n)) for n in range(50)))
        threads.close()
        assert order == sorted(order)

    asyncio.run(play())


def test_a_client_is_a_token_a_session_or_an_address() -> None:
    token, cookie = (b"authorization", b"Bearer x"), (b"cookie", b"sessionid=y")
    assert client_key([cookie, token], "::1") == b"Bearer x"
    assert client_key([cookie], "::1") == b"sessionid=y"
    assert client_key([], "::1") == b"::1"
