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

Hear = Callable[[Hint], None]
# Whether a listener has read a change already, so that a sweep need not wake it.
Knows = Callable[[int], bool]
Params = ParamSpec("Params")
Answer = TypeVar("Answer")
logger = logging.getLogger(__name__)


@dataclass
class Room:
    """An owner's listeners, and whether their hints are known to arrive."""

    listeners: dict[Hear, Knows] = field(default_factory=dict)
    subscribed: asyncio.Event = field(default_factory=asyncio.Event)


class Hub:
    def __init__(self, url: str | None) -> None:
        self._pool: ConnectionPool | None = None
        if url:
            self._pool = _pool(url)
        self._rooms: dict[int, Room] = {}
        self._redis: AbstractConnection | None = None
        self._heard_at = 0.0
        self._swept: str | None = None
        self._sweep_now = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="live")
        self.stopping = False

    def start(self) -> None:
        self._tasks = [asyncio.create_task(self._watch()), asyncio.create_task(self._follow())]

    @property
    def hears(self) -> bool:
        """Whether hints arrive; without a Redis to hear from, nobody misses them."""
        return self._redis is not None or self._pool is None

    def let_go(self) -> None:
        """The process is about to stop: whoever waits is woken, and waits no more."""
        self.stopping = True
        for owner_id in list(self._rooms):
            self._wake(owner_id, None)

    async def stop(self) -> None:
        self.let_go()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.to_thread(self._close_threads)

    @asynccontextmanager
    async def listen(
        self, owner_id: int, hear: Hear, knows: Knows = lambda change: False
    ) -> AsyncIterator[None]:
        """Within the block ``hear`` is called for every hint, and for changes without a hint.

        Whatever commits after the block was entered is heard of, sooner or later.
        """
        is_new = owner_id not in self._rooms
        room = self._rooms.setdefault(owner_id, Room())
        room.listeners[hear] = knows
        try:
            if is_new:
                await self._say("SUBSCRIBE", owner_id)
            if self._redis is not None and not room.subscribed.is_set():
                with suppress(TimeoutError):
                    async with asyncio.timeout(CONFIRM_SECONDS):
                        await room.subscribed.wait()
            yield
        finally:
            # An empty room is left to the next sweep: its owner is likely to come again.
            room.listeners.pop(hear, None)

    async def read(
        self, ask: Callable[Params, Answer], *args: Params.args, **options: Params.kwargs
    ) -> Answer:
        """Ask the database in a thread of the hub's. Raises DatabaseError, InterfaceError."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, lambda: _asked(ask, args, options))

    def _wake(self, owner_id: int, hint: Hint) -> None:
        room = self._rooms.get(owner_id)
        for hear in tuple(room.listeners) if room else ():
            hear(hint)

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
        for owner_id in [owner for owner, room in self._rooms.items() if not room.listeners]:
            del self._rooms[owner_id]
            await self._say("UNSUBSCRIBE", owner_id)
        if not self._rooms:
            self._swept = None
            return
        asked = list(self._rooms)
        found: dict[int, set[int]] = {}
        try:
            if self._swept is None:
                self._swept = await self.read(changes.now)
                asked = []
            else:
                self._swept, found = await self.read(changes.since_then, asked, self._swept)
        except (DatabaseError, InterfaceError) as error:
            logger.warning("no sweep: %s", error)
            return
        # Nobody asked about those who came meanwhile.
        for owner_id in self._rooms.keys() - asked:
            self._wake(owner_id, None)
        for owner_id, made in found.items():
            room = self._rooms.get(owner_id, Room())
            for hear, knows in tuple(room.listeners.items()):
                if not all(knows(change) for change in made):
                    hear(None)

    async def _check(self) -> None:
        redis, quiet = self._redis, asyncio.get_running_loop().time() - self._heard_at
        if redis is None or quiet < QUIET_SECONDS:
            return
        if quiet > 2 * QUIET_SECONDS:
            await redis.disconnect(nowait=True)  # the reader notices
        else:
            await self._say("PING")

    async def _follow(self) -> None:
        """Stay connected to Redis, with growing pauses between attempts that fail."""
        pause = 0.1
        while self._pool:
            try:
                await self._hear_all(self._pool)
            except (BrokerUnavailable, RedisError, OSError, TimeoutError) as error:
                logger.warning("hints away: %s", error)
            if self._redis is not None:
                pause = 0.1
            self._redis = None
            for owner_id, room in list(self._rooms.items()):
                room.subscribed.clear()
                self._wake(owner_id, None)
            self._sweep_now.set()
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    async def _hear_all(self, pool: ConnectionPool) -> None:
        # The first time the database is asked; never in the event loop.
        common = await self.read(hints.common_channel)
        redis: AbstractConnection = pool.make_connection()  # type: ignore[no-untyped-call]
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await redis.connect()  # type: ignore[no-untyped-call]
                await redis.send_command("SUBSCRIBE", common)
            rooms = [hints.channel(owner_id) for owner_id in self._rooms]
            self._redis, self._heard_at = redis, asyncio.get_running_loop().time()
            if rooms:
                await redis.send_command("SUBSCRIBE", *rooms)
            # What was said while nobody listened is made good.
            self._sweep_now.set()
            for owner_id in list(self._rooms):
                self._wake(owner_id, None)
            while True:
                message = await redis.read_response(timeout=math.inf)
                self._heard_at = asyncio.get_running_loop().time()
                self._take(message)
        finally:
            await redis.disconnect(nowait=True)

    def _take(self, message: Any) -> None:
        kind, where = message[0], message[1].decode()
        owner = where.rpartition(":")[2]
        if not owner.isdecimal():
            return  # the answer to a PING, or our own channel
        if kind == b"message":
            self._wake(int(owner), hints.heard(message[2]))
        elif kind == b"subscribe" and (room := self._rooms.get(int(owner))):
            room.subscribed.set()

    async def _say(self, command: str, *owners: int) -> None:
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


def _asked(ask: Callable[..., Answer], args: Any, options: Any) -> Answer:
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
