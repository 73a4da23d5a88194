"""The threads of ordinary requests, shared so that a request which waits costs others none.

A request that has not been answered for a tenth of a second waits for something: another's lock,
a large body, a slow reader. It no longer counts, and another may begin, in a spare thread if need
be. One client never has more than its share of all threads, and less of it while it waits.

A thread that has answered takes the next request itself. If the event loop gave it one, the thread
would wait for the loop, and the loop for the interpreter's lock, before each request.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

SLOW_SECONDS = 0.1
# How many times as many threads there may be, when many requests wait at once.
SPARE = 4


class Job:
    """A call that is to be made in a thread; its result goes to a future of the event loop."""

    def __init__(self, client: "Client", call: Callable[[], Any]) -> None:
        self.client = client
        self.is_slow = False
        self.began_at = 0.0
        self._call = call
        self._loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Any] = self._loop.create_future()

    def run(self) -> Callable[[], None]:
        """Make the call; what is to be called to give its result."""
        try:
            return partial(self._give, self.future.set_result, self._call())
        except BaseException as error:
            return partial(self._give, self.future.set_exception, error)

    def _give(self, give: Callable[[Any], None], given: Any) -> None:
        def now() -> None:
            if not self.future.done():
                give(given)

        with suppress(RuntimeError):  # the loop is closed: nothing waits for it
            self._loop.call_soon_threadsafe(now)


@dataclass(slots=True, eq=False)
class Client:
    """A client's requests: those that have a turn, the slow ones of them, and the others."""

    name: bytes
    running: int = 0
    slow: int = 0
    waiting: deque[Job] = field(default_factory=deque)

    def next(self, most: int) -> Job | None:
        """The next of them that may begin."""
        share = min(most, self.slow + 1) if self.slow else most
        while self.waiting and self.running < share:
            job = self.waiting.popleft()
            if not job.future.cancelled():
                self.running += 1
                return job
        return None


class Threads:
    """`most` quick requests at a time; `SPARE` times as many with those that wait."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._clients: dict[bytes, Client] = {}
        # It is their client's turn, and there is no thread for them yet.
        self._ready: deque[Job] = deque()
        self._running: set[Job] = set()
        self._slow = 0
        self._pool = ThreadPoolExecutor(most, thread_name_prefix="wsgi")
        self._spare: ThreadPoolExecutor | None = None
        self._busy = self._busy_spare = 0
        self._timer: asyncio.TimerHandle | None = None

    async def run(self, name: bytes, call: Callable[[], Any]) -> Any:
        """Make the call in a thread, when it is the turn of the client of this name."""
        with self._lock:
            client = self._clients.get(name)
            if client is None:
                client = self._clients[name] = Client(name)
            job = Job(client, call)
            client.waiting.append(job)
            self._let_in(client)
        if self._timer is None:
            self._watch(SLOW_SECONDS)
        return await job.future

    def close(self) -> None:
        for pool in (self._pool, self._spare):
            if pool is not None:
                pool.shutdown(wait=True)
        if self._timer is not None:
            self._timer.cancel()

    def _work(self, job: Job | None, is_spare: bool) -> None:
        """What a thread does: this job, and others as long as there are any."""
        while job is not None:
            give = job.run()
            job = self._after(job, is_spare)
            give()

    def _after(self, done: Job, is_spare: bool) -> Job | None:
        with self._lock:
            self._leave(done)
            may_go_on = self._busy + self._busy_spare <= self._allowed()
            if self._ready and may_go_on and (self._slow or not is_spare):
                return self._taken()
            self._busy -= not is_spare
            self._busy_spare -= is_spare
            self._start()
            return None

    def _leave(self, done: Job) -> None:
        client = done.client
        self._running.discard(done)
        client.running -= 1
        if done.is_slow:
            client.slow -= 1
            self._slow -= 1
            if not self._slow and self._spare is not None:
                # Its threads end, and with them their connections.
                self._spare.shutdown(wait=False)
                self._spare = None
        if client.waiting:
            self._let_in(client)
        if not client.running and not client.waiting:
            self._clients.pop(client.name, None)

    def _let_in(self, client: Client) -> None:
        while (job := client.next(self._most)) is not None:
            self._ready.append(job)
        self._start()

    def _start(self) -> None:
        """Have more threads work, as many as there are requests for."""
        while self._ready and self._busy + self._busy_spare < self._allowed():
            is_spare = self._busy == self._most
            self._busy += not is_spare
            self._busy_spare += is_spare
            pool = self._spare_pool() if is_spare else self._pool
            pool.submit(self._work, self._taken(), is_spare)

    def _taken(self) -> Job:
        job = self._ready.popleft()
        job.began_at = time.monotonic()
        self._running.add(job)
        return job

    def _allowed(self) -> int:
        return min(self._most + self._slow, self._most * SPARE)

    def _spare_pool(self) -> ThreadPoolExecutor:
        if self._spare is None:
            self._spare = ThreadPoolExecutor(self._most * (SPARE - 1), thread_name_prefix="spare")
        return self._spare

    def _watch(self, seconds: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, self._look)

    def _look(self) -> None:
        """Find which requests have become slow; again when the next one may be."""
        now = time.monotonic()
        with self._lock:
            for job in [each for each in self._running if not each.is_slow]:
                if now - job.began_at >= SLOW_SECONDS:
                    self._note_slow(job)
            began = [each.began_at for each in self._running if not each.is_slow]
            is_idle = not self._running
        if is_idle:
            self._timer = None
        else:
            self._watch(max(min(began, default=now) + SLOW_SECONDS - now, 0.001))

    def _note_slow(self, job: Job) -> None:
        job.is_slow = True
        job.client.slow += 1
        self._slow += 1
        self._let_in(job.client)


class FixedThreads:
    """`most` requests at a time, however long each takes."""

    def __init__(self, most: int) -> None:
        self._pool = ThreadPoolExecutor(most, thread_name_prefix="fixed")

    async def run(self, name: bytes, call: Callable[[], Any]) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._pool, call)

    def close(self) -> None:
        self._pool.shutdown(wait=True)


def client_of(headers: list[tuple[bytes, bytes]], address: str) -> bytes:
    """Who asks, before anybody has looked: a token, a session, or an address."""
    found = dict(headers)
    return found.get(b"authorization") or found.get(b"cookie") or address.encode()
