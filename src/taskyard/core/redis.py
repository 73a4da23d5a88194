"""The one bounded client of Redis or Valkey: no call waits longer than a second.

After a failure the next calls fail at once for a few seconds, so that a broker that is down or
hung costs a request a second once, not every time.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from django.conf import settings
from redis import Redis, RedisError
from redis.backoff import NoBackoff
from redis.retry import Retry

TIMEOUT_SECONDS = 1.0
OPEN_SECONDS = 5.0
logger = logging.getLogger(__name__)


class BrokerAway(Exception):
    """Redis cannot be reached, or could not a moment ago."""


class Breaker:
    """Remembers a failure for ``OPEN_SECONDS``."""

    def __init__(self) -> None:
        self._closed_again_at = 0.0

    @contextmanager
    def guarding(self, *failures: type[Exception]) -> Iterator[None]:
        """Raises BrokerAway at once while open, and when the block fails in one of these ways."""
        if time.monotonic() < self._closed_again_at:
            raise BrokerAway("failed a moment ago")
        try:
            yield
        except failures as error:
            self._closed_again_at = time.monotonic() + OPEN_SECONDS
            logger.warning("broker away: %s", error)
            raise BrokerAway(str(error)) from error


breaker = Breaker()


@cache
def _connect(url: str) -> Redis:
    return Redis.from_url(
        url,
        socket_timeout=TIMEOUT_SECONDS,
        socket_connect_timeout=TIMEOUT_SECONDS,
        retry=Retry(NoBackoff(), 0),
        decode_responses=True,
    )


@contextmanager
def client(own: Breaker | None = None) -> Iterator[Redis]:
    """The shared client, as a context: ``with client() as redis``. Raises BrokerAway.

    A breaker of its ``own`` is for what may fail without a word about the rest.
    """
    if not settings.REDIS_URL:
        raise BrokerAway("no broker is configured: set REDIS_URL")
    with (own or breaker).guarding(RedisError, OSError):
        yield _connect(settings.REDIS_URL)
