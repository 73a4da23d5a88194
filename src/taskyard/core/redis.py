"""The one bounded client of Redis or Valkey: no call waits longer than a second.

After a failure the next calls fail at once for a few seconds. So only one request waits for a
broker that is down or hangs, not every request. A broker that answers with an error (out of memory,
a read-only replica, missing rights) is treated as unavailable.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from functools import cache

from django.db import DatabaseError, InterfaceError
from redis import Redis, RedisError, ResponseError

from taskyard.core.conf import conf
from taskyard.core.installation import installation_id
from taskyard.core.redis_connection import connect

OPEN_SECONDS = 3.0
# An error comes at once, so we can retry sooner.
REFUSED_SECONDS = 1.0
PREFIX = "taskyard"
REGISTRY = f"{PREFIX}:installations"
FORGET_SECONDS = 7 * 86_400
# Uses every ability of the broker that we need: a script, a write that needs memory, a message.
_TRY = """
local now = redis.call('TIME')[1]
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], 0, now - ARGV[2])
redis.call('RPUSH', KEYS[2], now)
redis.call('DEL', KEYS[2])
redis.call('PUBLISH', ARGV[3], '')
return 1
"""
logger = logging.getLogger(__name__)


class BrokerUnavailable(Exception):
    """Redis cannot be used, or it could not a moment ago and was not asked again."""


class BrokerRefuses(BrokerUnavailable):
    """Redis answers, but with an error."""


class BrokerState(StrEnum):
    OK = "ok"
    AWAY = "away"
    REFUSES = "refuses"


class CircuitBreaker:
    """Remembers a failure for a few seconds."""

    def __init__(self) -> None:
        self._closed_again_at = 0.0

    @contextmanager
    def guarding(self, *failures: type[Exception]) -> Iterator[None]:
        """Raises BrokerUnavailable while open, and if the block raises one of ``failures``."""
        if time.monotonic() < self._closed_again_at:
            raise BrokerUnavailable("failed a moment ago")
        try:
            yield
        except failures as error:
            raise self._open(error) from error

    def _open(self, error: Exception) -> BrokerUnavailable:
        now = time.monotonic()
        if is_refusal(error):
            self._closed_again_at = now + REFUSED_SECONDS
            logger.warning("broker refuses: %s", error)
            return BrokerRefuses(str(error))
        self._closed_again_at = now + OPEN_SECONDS
        logger.warning("broker away: %s", error)
        return BrokerUnavailable(str(error))


def is_refusal(error: Exception) -> bool:
    """Whether the server answered with an error.

    redis-py raises some of these errors as ConnectionError, with a status code.
    """
    return isinstance(error, ResponseError) or getattr(error, "status_code", None) is not None


breaker = CircuitBreaker()


_connected = cache(connect)


@contextmanager
def client(own: CircuitBreaker | None = None) -> Iterator[Redis]:
    """The shared client, as a context: ``with client() as redis``. Raises BrokerUnavailable.

    Pass an ``own`` breaker if a failure of this call must not open the shared breaker.
    """
    if not conf().BROKER_URL:
        raise BrokerUnavailable("no broker is configured: set REDIS_URL")
    with (own or breaker).guarding(RedisError, OSError):
        yield _connected(conf().BROKER_URL)


def key(*parts: str) -> str:
    """The name of a key or channel of this installation. Raises BrokerUnavailable.

    All our names are made here, so that several installations and other programs can share a Redis.
    """
    try:
        return ":".join((PREFIX, installation_id(), *parts))
    except (DatabaseError, InterfaceError) as error:
        raise BrokerUnavailable(f"the installation is not known: {error}") from error


def try_broker() -> None:
    """Use every ability of the broker that we need. Raises BrokerUnavailable, BrokerRefuses."""
    keys = REGISTRY, key("probe")
    with client(CircuitBreaker()) as redis:
        redis.eval(_TRY, len(keys), *keys, installation_id(), FORGET_SECONDS, key("live"))


def broker_state() -> BrokerState:
    """Use the broker and return its state, within a second or two."""
    try:
        try_broker()
    except BrokerRefuses:
        return BrokerState.REFUSES
    except BrokerUnavailable:
        return BrokerState.AWAY
    return BrokerState.OK
