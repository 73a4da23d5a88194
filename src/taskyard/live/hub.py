"""The hub of a web process: receives hints from Redis and calls the listeners of their owners.

All listeners share one Redis connection. For lost hints there is a sweep: one query that finds the
owners with changes since the last sweep, every five seconds, and every second while Redis is away.
A listener holds no thread and no database connection; the hub has two of each for all queries.
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

from taskyard.core import hints, redis_url
from taskyard.core.database_errors import is_outage
from taskyard.core.hints import Hint
from taskyard.core.redis import BrokerUnavailable
from taskyard.core.types import UserId
from taskyard.live import changes

THREADS = 2
TICK_SECONDS = 1.0
TICKS_A_SWEEP = 5
# After so long without a message the hub sends a PING, and after twice as long it disconnects.
QUIET_SECONDS = 2.0
CONNECT_SECONDS = 2.0
SUBSCRIBE_SECONDS = 1.0
LONGEST_BACKOFF_SECONDS = 2.0

Callback = Callable[[Hint], None]
# Whether a listener has read a change already; then a sweep does not call it.
HasSeen = Callable[[int], bool]
Params = ParamSpec("Params")
Result = TypeVar("Result")
logger = logging.getLogger(__name__)


@dataclass
class Subscription:
    """An owner's listeners, and whether Redis has confirmed the subscription."""

    listeners: dict[Callback, HasSeen] = field(default_factory=dict)
    subscribed: asyncio.Event = field(default_factory=asyncio.Event)


class Hub:
    def __init__(self, url: str | None) -> None:
        self._pool: ConnectionPool | None = None
        if url:
            self._pool = _pool(url)
        # By the owner's id as text, as it is in the name of the channel.
        self._subscriptions: dict[str, Subscription] = {}
        self._common_channel = ""
        self._redis: AbstractConnection | None = None
        self._received_at = 0.0
        self._swept_to: str | None = None
        self._sweep_now = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="live")
        self.stopping = False

    def start(self) -> None:
        sweeping = asyncio.create_task(self._sweep_periodically())
        self._tasks = [sweeping, asyncio.create_task(self._stay_connected())]

    @property
    def receives_hints(self) -> bool:
        """Whether hints arrive; also true if no Redis is configured."""
        return self._redis is not None or self._pool is None

    def release_waiters(self) -> None:
        """Call all listeners, because the process is about to stop."""
        self.stopping = True
        for owner in list(self._subscriptions):
            self._call_listeners(owner, None)

    async def stop(self) -> None:
        self.release_waiters()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.to_thread(self._close_threads)

    @asynccontextmanager
    async def listen(
        self, owner_id: UserId, callback: Callback, has_seen: HasSeen = lambda change: False
    ) -> AsyncIterator[None]:
        """Call ``callback`` within the block for each hint, and for changes without a hint.

        Every change that commits within the block leads to a call, at the latest after a sweep.
        """
        owner = str(owner_id)
        is_new = owner not in self._subscriptions
        subscription = self._subscriptions.setdefault(owner, Subscription())
        subscription.listeners[callback] = has_seen
        try:
            if is_new:
                await self._send_command("SUBSCRIBE", owner)
            if self._redis is not None and not subscription.subscribed.is_set():
                with suppress(TimeoutError):
                    async with asyncio.timeout(SUBSCRIBE_SECONDS):
                        await subscription.subscribed.wait()
            yield
        finally:
            # The next sweep unsubscribes: until then the owner is likely to listen again.
            subscription.listeners.pop(callback, None)

    async def run_in_thread(
        self, function: Callable[Params, Result], *args: Params.args, **options: Params.kwargs
    ) -> Result:
        """Call a function that queries the database in a thread of the hub.

        Raises DatabaseError, InterfaceError.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            self._threads, lambda: _call_with_retry(function, args, options)
        )

    def _call_listeners(self, owner: str, hint: Hint) -> None:
        subscription = self._subscriptions.get(owner)
        for callback in tuple(subscription.listeners) if subscription else ():
            callback(hint)

    async def _sweep_periodically(self) -> None:
        """Sweep, and check the connection to Redis, for ever."""
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
            await self._check_connection()

    async def _sweep(self) -> None:
        """Unsubscribe from owners without listeners; call listeners of owners with changes."""
        for owner in [
            owner
            for owner, subscription in self._subscriptions.items()
            if not subscription.listeners
        ]:
            del self._subscriptions[owner]
            await self._send_command("UNSUBSCRIBE", owner)
        if not self._subscriptions:
            self._swept_to = None
            return
        swept = list(self._subscriptions)
        changed: dict[UserId, set[int]] = {}
        try:
            if self._swept_to is None:
                self._swept_to = await self.run_in_thread(changes.now)
                swept = []
            else:
                self._swept_to, changed = await self.run_in_thread(
                    changes.changed_owners, swept, self._swept_to
                )
        except (DatabaseError, InterfaceError) as error:
            logger.warning("no sweep: %s", error)
            return
        # The query did not cover owners that subscribed while it ran.
        for owner in self._subscriptions.keys() - swept:
            self._call_listeners(owner, None)
        for owner_id, owner_changes in changed.items():
            subscription = self._subscriptions.get(str(owner_id), Subscription())
            for callback, has_seen in tuple(subscription.listeners.items()):
                if not all(has_seen(change) for change in owner_changes):
                    callback(None)

    async def _check_connection(self) -> None:
        redis, quiet_seconds = self._redis, asyncio.get_running_loop().time() - self._received_at
        if redis is None or quiet_seconds < QUIET_SECONDS:
            return
        if quiet_seconds > 2 * QUIET_SECONDS:
            await redis.disconnect(nowait=True)  # _receive raises and _stay_connected reconnects
        else:
            await self._send_command("PING")

    async def _stay_connected(self) -> None:
        """Receive hints; reconnect to Redis with a growing back-off."""
        backoff = 0.1
        while self._pool:
            try:
                await self._receive(self._pool)
            except (BrokerUnavailable, RedisError, OSError, TimeoutError) as error:
                logger.warning("hints away: %s", error)
            if self._redis is not None:
                backoff = 0.1
            self._redis = None
            for owner, subscription in list(self._subscriptions.items()):
                subscription.subscribed.clear()
                self._call_listeners(owner, None)
            self._sweep_now.set()
            await asyncio.sleep(backoff)
            backoff = min(2 * backoff, LONGEST_BACKOFF_SECONDS)

    async def _receive(self, pool: ConnectionPool) -> None:
        """Connect, subscribe and receive until the connection fails."""
        # The first call reads the installation's id from the database, so it needs a thread.
        self._common_channel = await self.run_in_thread(hints.common_channel)
        redis: AbstractConnection = pool.make_connection()  # type: ignore[no-untyped-call]
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await redis.connect()  # type: ignore[no-untyped-call]
                await redis.send_command("SUBSCRIBE", self._common_channel)
            channels = [hints.channel(owner) for owner in self._subscriptions]
            self._redis, self._received_at = redis, asyncio.get_running_loop().time()
            if channels:
                await redis.send_command("SUBSCRIBE", *channels)
            # Hints were lost while there was no connection.
            self._sweep_now.set()
            for owner in list(self._subscriptions):
                self._call_listeners(owner, None)
            while True:
                message = await redis.read_response(timeout=math.inf)
                self._received_at = asyncio.get_running_loop().time()
                self._handle_message(message)
        finally:
            await redis.disconnect(nowait=True)

    def _handle_message(self, message: Any) -> None:
        kind, channel = message[0], message[1].decode()
        common, _, owner = channel.partition(f"{self._common_channel}:")
        if common or not owner:
            return  # the answer to a PING, or the common channel
        if kind == b"message":
            self._call_listeners(owner, hints.parse(message[2]))
        elif kind == b"subscribe" and (subscription := self._subscriptions.get(owner)):
            subscription.subscribed.set()

    async def _send_command(self, command: str, *owners: str) -> None:
        if self._redis is not None and self._redis.is_connected:
            channels = [hints.channel(owner) for owner in owners]
            with suppress(
                RedisError, OSError
            ):  # _receive raises too and _stay_connected reconnects
                await self._redis.send_command(command, *channels, check_health=False)

    def _close_threads(self) -> None:
        # A connection belongs to its thread. The barrier gives each thread exactly one call.
        barrier = Barrier(THREADS)

        def close() -> None:
            with suppress(BrokenBarrierError):
                barrier.wait(5)
            connection.close()

        for _ in range(THREADS):
            self._threads.submit(close)
        self._threads.shutdown(wait=True)


def _pool(url: str) -> ConnectionPool:
    """The connection pool of a Redis URL, or of the primary that its sentinels name."""
    parsed_url = redis_url.parse(url)
    limits: dict[str, Any] = {
        "socket_connect_timeout": CONNECT_SECONDS,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
    }
    options = {**parsed_url.connection(), **limits, "socket_timeout": None}
    if parsed_url.master_name is not None:
        sentinel_options = {**parsed_url.sentinel(), **limits}
        sentinels: Any = Sentinel(parsed_url.servers, sentinel_kwargs=sentinel_options)  # type: ignore[no-untyped-call]
        redis: Redis = sentinels.master_for(parsed_url.master_name, **options)
    else:
        host, port = parsed_url.servers[0]
        redis = Redis(host=host, port=port, **options)
    return redis.connection_pool


def _call_with_retry(function: Callable[..., Result], args: Any, options: Any) -> Result:
    """Call a function; if the kept connection is dead, call it again on a new one."""
    # After a switchover the old primary would answer for ever with old rows.
    connection.close_if_unusable_or_obsolete()
    is_new = connection.connection is None
    try:
        return function(*args, **options)
    except (DatabaseError, InterfaceError) as error:
        if not is_outage(error):
            raise
        connection.close()
        if is_new:
            raise
    try:
        return function(*args, **options)
    except (DatabaseError, InterfaceError):
        connection.close()
        raise
