"""The threads of WSGI requests, shared fairly between clients.

A request that runs for more than a tenth of a second is slow: it waits for a lock, a large body or
a slow reader. A slow request does not count against the limit, so another request may start, in a
spare thread if all others are busy. One client has at most all regular threads; while some of its
requests are slow, it has one thread more than it has slow requests.

A thread that has finished a request takes the next one itself. If the event loop gave it one, the
thread would wait for the loop, and the loop for the interpreter's lock, before each request.
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
# With slow requests there may be so many times as many threads.
SPARE = 4


class Job:
    """A call to make in a thread; its result goes to a future of the event loop."""

    def __init__(self, client: "Client", call: Callable[[], Any]) -> None:
        self.client = client
        self.is_slow = False
        self.started_at = 0.0
        self._call = call
        self._loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Any] = self._loop.create_future()

    def run(self) -> Callable[[], None]:
        """Make the call; returns a function that passes the result to the future."""
        try:
            return partial(self._finish, self.future.set_result, self._call())
        except BaseException as error:
            return partial(self._finish, self.future.set_exception, error)

    def _finish(self, set_outcome: Callable[[Any], None], outcome: Any) -> None:
        def finish_in_loop() -> None:
            if not self.future.done():
                set_outcome(outcome)

        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(finish_in_loop)


@dataclass(slots=True, eq=False)
class Client:
    """A client's requests: how many run, how many of these are slow, and those that wait."""

    name: bytes
    running: int = 0
    slow: int = 0
    waiting: deque[Job] = field(default_factory=deque)

    def next(self, threads: int) -> Job | None:
        """The client's next request that may start, or None. ``threads`` is the regular limit."""
        share = min(threads, self.slow + 1) if self.slow else threads
        while self.waiting and self.running < share:
            job = self.waiting.popleft()
            if not job.future.cancelled():
                self.running += 1
                return job
        return None


class Threads:
    """Runs up to `threads` quick requests at a time, and with slow ones `SPARE` times as many."""

    def __init__(self, threads: int) -> None:
        self._regular = threads
        self._lock = threading.Lock()
        self._clients: dict[bytes, Client] = {}
        # Their clients may run them, but no thread is free yet.
        self._ready: deque[Job] = deque()
        self._running: set[Job] = set()
        self._slow = 0
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="wsgi")
        self._spare: ThreadPoolExecutor | None = None
        self._busy = self._busy_spare = 0
        self._timer: asyncio.TimerHandle | None = None

    async def run(self, name: bytes, call: Callable[[], Any]) -> Any:
        """Make the call in a thread as soon as the client of this name may have one."""
        with self._lock:
            client = self._clients.get(name)
            if client is None:
                client = self._clients[name] = Client(name)
            job = Job(client, call)
            client.waiting.append(job)
            self._admit(client)
        if self._timer is None:
            self._schedule_check(SLOW_SECONDS)
        return await job.future

    def close(self) -> None:
        for pool in (self._pool, self._spare):
            if pool is not None:
                pool.shutdown(wait=True)
        if self._timer is not None:
            self._timer.cancel()

    def _work(self, job: Job | None, is_spare: bool) -> None:
        """Run this job in a thread, then others as long as there are any."""
        while job is not None:
            finish = job.run()
            job = self._next_after(job, is_spare)
            finish()

    def _next_after(self, done: Job, is_spare: bool) -> Job | None:
        with self._lock:
            self._remove(done)
            may_continue = self._busy + self._busy_spare <= self._allowed()
            if self._ready and may_continue and (self._slow or not is_spare):
                return self._take_ready()
            self._busy -= not is_spare
            self._busy_spare -= is_spare
            self._start_threads()
            return None

    def _remove(self, done: Job) -> None:
        client = done.client
        self._running.discard(done)
        client.running -= 1
        if done.is_slow:
            client.slow -= 1
            self._slow -= 1
            if not self._slow and self._spare is not None:
                # Its threads end and close their database connections.
                self._spare.shutdown(wait=False)
                self._spare = None
        if client.waiting:
            self._admit(client)
        if not client.running and not client.waiting:
            self._clients.pop(client.name, None)

    def _admit(self, client: Client) -> None:
        """Make those requests of a client ready that its share allows."""
        while (job := client.next(self._regular)) is not None:
            self._ready.append(job)
        self._start_threads()

    def _start_threads(self) -> None:
        """Start a thread for each ready request, as far as the limit allows."""
        while self._ready and self._busy + self._busy_spare < self._allowed():
            is_spare = self._busy == self._regular
            self._busy += not is_spare
            self._busy_spare += is_spare
            pool = self._spare_pool() if is_spare else self._pool
            pool.submit(self._work, self._take_ready(), is_spare)

    def _take_ready(self) -> Job:
        job = self._ready.popleft()
        job.started_at = time.monotonic()
        self._running.add(job)
        return job

    def _allowed(self) -> int:
        return min(self._regular + self._slow, self._regular * SPARE)

    def _spare_pool(self) -> ThreadPoolExecutor:
        if self._spare is None:
            threads = self._regular * (SPARE - 1)
            self._spare = ThreadPoolExecutor(threads, thread_name_prefix="spare")
        return self._spare

    def _schedule_check(self, seconds: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, self._find_slow)

    def _find_slow(self) -> None:
        """Mark the requests that have become slow; schedules the check of the next one."""
        now = time.monotonic()
        with self._lock:
            for job in [job for job in self._running if not job.is_slow]:
                if now - job.started_at >= SLOW_SECONDS:
                    self._mark_slow(job)
            started = [job.started_at for job in self._running if not job.is_slow]
            is_idle = not self._running
        if is_idle:
            self._timer = None
        else:
            self._schedule_check(max(min(started, default=now) + SLOW_SECONDS - now, 0.001))

    def _mark_slow(self, job: Job) -> None:
        job.is_slow = True
        job.client.slow += 1
        self._slow += 1
        self._admit(job.client)


class FixedThreads:
    """Runs `threads` requests at a time, also if they are slow."""

    def __init__(self, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="fixed")

    async def run(self, name: bytes, call: Callable[[], Any]) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._pool, call)

    def close(self) -> None:
        self._pool.shutdown(wait=True)


def client_key(headers: list[tuple[bytes, bytes]], address: str) -> bytes:
    """A key for the client of a request that is not authenticated yet: token, cookie or address."""
    by_name = dict(headers)
    return by_name.get(b"authorization") or by_name.get(b"cookie") or address.encode()
