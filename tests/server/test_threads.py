"""Threads are shared so that one client's waiting requests leave others theirs."""

import asyncio
from concurrent.futures import Executor

from taskyard.server.threads import SLOW_SECONDS, SPARE, Threads, client_of

MOST = 2


async def hold(threads: Threads, client: bytes, over: asyncio.Event) -> None:
    async with threads.one_for(client):
        await over.wait()


async def begin(threads: Threads, client: bytes, over: asyncio.Event, count: int) -> list[object]:
    tasks = [asyncio.create_task(hold(threads, client, over)) for _ in range(count)]
    await asyncio.sleep(SLOW_SECONDS * (count + 2))
    return list(tasks)


def test_requests_that_wait_leave_others_their_threads() -> None:
    async def play() -> None:
        threads, over = Threads(MOST), asyncio.Event()
        tasks = await begin(threads, b"stuck", over, 10)
        for client in (b"one", b"other"):
            async with asyncio.timeout(1), threads.one_for(client) as pool:
                assert await asyncio.get_running_loop().run_in_executor(pool, str, 1) == "1"
        over.set()
        await asyncio.gather(*tasks)
        threads.close()

    asyncio.run(play())


def test_a_client_has_no_more_threads_than_its_share() -> None:
    async def play() -> None:
        threads, over = Threads(MOST), asyncio.Event()
        tasks = await begin(threads, b"stuck", over, MOST)
        late = asyncio.create_task(hold(threads, b"stuck", over))
        await asyncio.sleep(2 * SLOW_SECONDS)
        assert not late.done()
        others = [await begin(threads, str(n).encode(), over, 1) for n in range(MOST * (SPARE - 1))]
        over.set()
        await asyncio.gather(late, *tasks, *(task for each in others for task in each))
        assert not threads._clients
        threads.close()

    asyncio.run(play())


def test_quick_requests_use_the_ordinary_threads_only() -> None:
    async def play() -> set[Executor]:
        threads = Threads(MOST)
        used: set[Executor] = set()

        async def one(number: int) -> None:
            async with threads.one_for(b"%d" % (number % 3)) as pool:
                used.add(pool)
                await asyncio.get_running_loop().run_in_executor(pool, str, number)

        await asyncio.gather(*(one(number) for number in range(200)))
        threads.close()
        return used

    assert len(asyncio.run(play())) == 1


def test_a_client_is_a_token_a_session_or_an_address() -> None:
    token, cookie = (b"authorization", b"Bearer x"), (b"cookie", b"sessionid=y")
    assert client_of([cookie, token], "::1") == b"Bearer x"
    assert client_of([cookie], "::1") == b"sessionid=y"
    assert client_of([], "::1") == b"::1"
