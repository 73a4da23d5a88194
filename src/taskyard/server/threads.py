"""The threads of ordinary requests, shared so that a request which waits costs others none.

A request that has not been answered for a tenth of a second waits for something: another's lock,
a large body, a slow reader. It no longer counts, and another may begin, in a spare thread if need
be. One client never has more than its share of all threads, and less of it while it waits.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

SLOW_SECONDS = 0.1
# How many times as many threads there may be, when many requests wait at once.
SPARE = 4


@dataclass
class Client:
    """A client's requests: those that have a thread, the slow ones of them, and the others."""

    running: int = 0
    slow: int = 0
    waiting: "deque[asyncio.Future[None]]" = field(default_factory=deque)

    def may_begin(self, most: int) -> bool:
        return self.running < (min(most, self.slow + 1) if self.slow else most)

    def let_in(self, most: int) -> None:
        while self.waiting and self.may_begin(most):
            turn = self.waiting.popleft()
            if not turn.done():
                self.running += 1
                turn.set_result(None)


class Threads:
    """`most` quick requests at a time; `SPARE` times as many with those that wait."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._clients: dict[bytes, Client] = {}
        self._quick = asyncio.Semaphore(most)
        self._all = asyncio.Semaphore(most * SPARE)
        self._pool = ThreadPoolExecutor(most, thread_name_prefix="wsgi")
        self._busy = self._slow = 0
        self._spare: ThreadPoolExecutor | None = None

    @asynccontextmanager
    async def one_for(self, name: bytes) -> AsyncIterator[Executor]:
        """Wait for a thread; within the block it is the client's of this name."""
        client = self._clients.setdefault(name, Client())
        await self._turn_of(client)
        try:
            async with self._all:
                await self._quick.acquire()
                place = Place(self, client)
                try:
                    yield self._executor(place)
                finally:
                    place.leave()
        finally:
            client.running -= 1
            client.let_in(self._most)
            if not client.running and not client.waiting:
                self._clients.pop(name, None)

    def close(self) -> None:
        for pool in (self._pool, self._spare):
            if pool is not None:
                pool.shutdown(wait=True)

    async def _turn_of(self, client: Client) -> None:
        if not client.waiting and client.may_begin(self._most):
            client.running += 1
            return
        turn = asyncio.get_running_loop().create_future()
        client.waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            client.running -= turn.done() and not turn.cancelled()
            raise

    def _executor(self, place: "Place") -> Executor:
        if self._busy < self._most:
            self._busy += 1
            place.is_spare = False
            return self._pool
        if self._spare is None:
            self._spare = ThreadPoolExecutor(self._most * (SPARE - 1), thread_name_prefix="spare")
        return self._spare


class FixedThreads:
    """`most` requests at a time, however long each takes."""

    def __init__(self, most: int) -> None:
        self._pool = ThreadPoolExecutor(most, thread_name_prefix="fixed")

    @asynccontextmanager
    async def one_for(self, name: bytes) -> AsyncIterator[Executor]:
        yield self._pool

    def close(self) -> None:
        self._pool.shutdown(wait=True)


class Place:
    """One request's place among the quick ones, until it is answered or turns out to be slow."""

    def __init__(self, threads: Threads, client: Client) -> None:
        self.is_spare = True
        self._threads = threads
        self._client = client
        self._is_slow = False
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(SLOW_SECONDS, self._wait)

    def _wait(self) -> None:
        self._is_slow = True
        self._client.slow += 1
        self._client.let_in(self._threads._most)
        self._threads._slow += 1
        self._threads._quick.release()

    def leave(self) -> None:
        threads = self._threads
        threads._busy -= not self.is_spare
        if not self._is_slow:
            self._timer.cancel()
            threads._quick.release()
            return
        self._client.slow -= 1
        threads._slow -= 1
        if not threads._slow and threads._spare is not None:
            # Its threads end, and with them their connections.
            threads._spare.shutdown(wait=False)
            threads._spare = None


def client_of(headers: list[tuple[bytes, bytes]], address: str) -> bytes:
    """Who asks, before anybody has looked: a token, a session, or an address."""
    found = dict(headers)
    return found.get(b"authorization") or found.get(b"cookie") or address.encode()
