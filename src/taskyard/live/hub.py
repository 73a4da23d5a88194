"""One hub a web process: it hears hints, and wakes whoever waits for an owner's tasks.

One Redis connection for everybody. A hint that was lost is made good by a sweep: one query finds
the owners with changes since the last one; every five seconds, and every second while Redis is
away. Nobody who waits holds a thread or a database connection; reads share two of each.
"""

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from threading import Barrier, BrokenBarrierError
from typing import Any, ParamSpec, TypeVar

from django.db import DatabaseError, InterfaceError, connection
from redis import RedisError
from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection, ConnectionPool
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff

from taskyard.core import redis_url
from taskyard.core.database_errors import is_outage
from taskyard.core.redis import BrokerUnavailable
from taskyard.live import changes, hints
from taskyard.live.hints import Hint

THREADS = 2
TICK_SECONDS = 1.0
TICKS_A_SWEEP = 5
# A hung Redis is taken for one that is away after two of these.
QUIET_SECONDS = 2.0
CONNECT_SECONDS = 2.0
CONFIRM_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 2.0

Callback = Callable[[Hint], None]
# Whether a listener has read a change already, so that a sweep need not wake it.
HasSeen = Callable[[int], bool]
Params = ParamSpec("Params")
Result = TypeVar("Result")
logger = logging.getLogger(__name__)


@dataclass
class Subscription:
    """An owner's listeners, and whether their hints are known to arrive."""

    listeners: dict[Callback, HasSeen] = field(default_factory=dict)
    subscribed: asyncio.Event = field(default_factory=asyncio.Event)


class Hub:
    def __init__(self, url: str | None) -> None:
        self._pool: ConnectionPool | None = None
        if url:
            self._pool = _pool(url)
        self._subscriptions: dict[int, Subscription] = {}
        self._redis: AbstractConnection | None = None
        self._received_at = 0.0
        self._swept_to: str | None = None
        self._sweep_now = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="live")
        self.stopping = False

    def start(self) -> None:
        self._tasks = [asyncio.create_task(self._watch()), asyncio.create_task(self._follow())]

    @property
    def receives_hints(self) -> bool:
        """Whether hints arrive; without a Redis to hear from, nobody misses them."""
        return self._redis is not None or self._pool is None

    def release_waiters(self) -> None:
        """The process is about to stop: whoever waits is woken, and waits no more."""
        self.stopping = True
        for owner_id in list(self._subscriptions):
            self._wake(owner_id, None)

    async def stop(self) -> None:
        self.release_waiters()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.to_thread(self._close_threads)

    @asynccontextmanager
    async def listen(
        self, owner_id: int, callback: Callback, has_seen: HasSeen = lambda change: False
    ) -> AsyncIterator[None]:
        """Within the block ``callback`` is called for every hint, and for changes without a hint.

        Whatever commits after the block was entered is heard of, sooner or later.
        """
        is_new = owner_id not in self._subscriptions
        subscription = self._subscriptions.setdefault(owner_id, Subscription())
        subscription.listeners[callback] = has_seen
        try:
            if is_new:
                await self._send_command("SUBSCRIBE", owner_id)
            if self._redis is not None and not subscription.subscribed.is_set():
                with suppress(TimeoutError):
                    async with asyncio.timeout(CONFIRM_SECONDS):
                        await subscription.subscribed.wait()
            yield
        finally:
            # An empty room is left to the next sweep: its owner is likely to come again.
            subscription.listeners.pop(callback, None)

    async def read(
        self, ask: Callable[Params, Result], *args: Params.args, **options: Params.kwargs
    ) -> Result:
        """Ask the database in a thread of the hub's. Raises DatabaseError, InterfaceError."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, lambda: _asked(ask, args, options))

    def _wake(self, owner_id: int, hint: Hint) -> None:
        subscription = self._subscriptions.get(owner_id)
        for callback in tuple(subscription.listeners) if subscription else ():
            callback(hint)

    async def _watch(self) -> None:
        """Sweep from time to time, and see whether Redis still speaks."""
        ticks = 0
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(TICK_SECONDS):
                    await self._sweep_now.wait()
            ticks += 1
            if self._redis is None or self._sweep_now.is_set() or ticks >= TICKS_A_SWEEP:
                ticks = 0
                self._sweep_now.clear()
                await self._sweep()
            await self._check()

    async def _sweep(self) -> None:
        for owner_id in [
            owner
            for owner, subscription in self._subscriptions.items()
            if not subscription.listeners
        ]:
            del self._subscriptions[owner_id]
            await self._send_command("UNSUBSCRIBE", owner_id)
        if not self._subscriptions:
            self._swept_to = None
            return
        asked = list(self._subscriptions)
        found: dict[int, set[int]] = {}
        try:
            if self._swept_to is None:
                self._swept_to = await self.read(changes.now)
                asked = []
            else:
                self._swept_to, found = await self.read(
                    changes.changed_owners, asked, self._swept_to
                )
        except (DatabaseError, InterfaceError) as error:
            logger.warning("no sweep: %s", error)
            return
        # Nobody asked about those who came meanwhile.
        for owner_id in self._subscriptions.keys() - asked:
            self._wake(owner_id, None)
        for owner_id, made in found.items():
            subscription = self._subscriptions.get(owner_id, Subscription())
            for callback, has_seen in tuple(subscription.listeners.items()):
                if not all(has_seen(change) for change in made):
                    callback(None)

    async def _check(self) -> None:
        redis, quiet = self._redis, asyncio.get_running_loop().time() - self._received_at
        if redis is None or quiet < QUIET_SECONDS:
            return
        if quiet > 2 * QUIET_SECONDS:
            await redis.disconnect(nowait=True)  # the reader notices
        else:
            await self._send_command("PING")

    async def _follow(self) -> None:
        """Stay connected to Redis, with growing pauses between attempts that fail."""
        pause = 0.1
        while self._pool:
            try:
                await self._receive(self._pool)
            except (BrokerUnavailable, RedisError, OSError, TimeoutError) as error:
                logger.warning("hints away: %s", error)
            if self._redis is not None:
                pause = 0.1
            self._redis = None
            for owner_id, subscription in list(self._subscriptions.items()):
                subscription.subscribed.clear()
                self._wake(owner_id, None)
            self._sweep_now.set()
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    async def _receive(self, pool: ConnectionPool) -> None:
        # The first time the database is asked; never in the event loop.
        common = await self.read(hints.common_channel)
        redis: AbstractConnection = pool.make_connection()  # type: ignore[no-untyped-call]
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await redis.connect()  # type: ignore[no-untyped-call]
                await redis.send_command("SUBSCRIBE", common)
            channels = [hints.channel(owner_id) for owner_id in self._subscriptions]
            self._redis, self._received_at = redis, asyncio.get_running_loop().time()
            if channels:
                await redis.send_command("SUBSCRIBE", *channels)
            # What was said while nobody listened is made good.
            self._sweep_now.set()
            for owner_id in list(self._subscriptions):
                self._wake(owner_id, None)
            while True:
                message = await redis.read_response(timeout=math.inf)
                self._received_at = asyncio.get_running_loop().time()
                self._take(message)
        finally:
            await redis.disconnect(nowait=True)

    def _take(self, message: Any) -> None:
        kind, where = message[0], message[1].decode()
        owner = where.rpartition(":")[2]
        if not owner.isdecimal():
            return  # the answer to a PING, or our own channel
        if kind == b"message":
            self._wake(int(owner), hints.parse(message[2]))
        elif kind == b"subscribe" and (subscription := self._subscriptions.get(int(owner))):
            subscription.subscribed.set()

    async def _send_command(self, command: str, *owners: int) -> None:
        if self._redis is not None and self._redis.is_connected:
            channels = [hints.channel(owner_id) for owner_id in owners]
            with suppress(RedisError, OSError):  # the reader notices
                await self._redis.send_command(command, *channels, check_health=False)

    def _close_threads(self) -> None:
        # Each thread closes its own connection; the barrier keeps one from doing it twice.
        together = Barrier(THREADS)

        def close() -> None:
            with suppress(BrokenBarrierError):
                together.wait(5)
            connection.close()

        for _ in range(THREADS):
            self._threads.submit(close)
        self._threads.shutdown(wait=True)


def _pool(url: str) -> ConnectionPool:
    """Where to get connections to what the URL names, or what its sentinels name."""
    said = redis_url.parse(url)
    bounds: dict[str, Any] = {
        "socket_connect_timeout": CONNECT_SECONDS,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
    }
    options = {**said.connection(), **bounds, "socket_timeout": None}
    if said.master_name is not None:
        sentinels: Any = Sentinel(said.servers, sentinel_kwargs={**said.sentinel(), **bounds})  # type: ignore[no-untyped-call]
        redis: Redis = sentinels.master_for(said.master_name, **options)
    else:
        host, port = said.servers[0]
        redis = Redis(host=host, port=port, **options)
    return redis.connection_pool


def _asked(ask: Callable[..., Result], args: Any, options: Any) -> Result:
    """Ask; once more on a new connection, where the kept one turns out to be dead."""
    # A server that takes no writes any more would answer for ever with what was.
    connection.close_if_unusable_or_obsolete()
    fresh = connection.connection is None
    try:
        return ask(*args, **options)
    except (DatabaseError, InterfaceError) as error:
        if not is_outage(error):
            raise
        connection.close()
        if fresh:
            raise
    try:
        return ask(*args, **options)
    except (DatabaseError, InterfaceError):
        connection.close()
        raise
