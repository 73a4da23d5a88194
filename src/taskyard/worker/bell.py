"""Ring a queue's bell: tell the workers that it has work. Bounded, and never an error.

A bell changes latency only. Commit, then ring; silence, then claim. Where a process keeps vigil
(``worker/vigil.py``) it is called, which costs one Redis command. Elsewhere a Celery message wakes
one, unless a message is under way; where that was lost, another is sent after ``BELL_SECONDS`` at
the latest, because upkeep rings for whatever is ready.
"""

import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import NamedTuple

from kombu.exceptions import OperationalError
from redis import Redis, RedisError

from taskyard.core.redis import BrokerAway, client, key

BELL_SECONDS = 10
# Celery's part of our names: a queue of Celery's is a list below it.
CELERY = "celery"
# Whether a message has to be sent. A call that nobody has answered yet is not said twice.
_CALL_OR_RING = """
if redis.call('EXISTS', KEYS[2]) == 1 then
    if redis.call('LLEN', KEYS[3]) == 0 then redis.call('RPUSH', KEYS[3], 1) end
    return 0
end
return redis.call('SET', KEYS[1], 1, 'NX', 'EX', ARGV[1]) and 1 or 0
"""
logger = logging.getLogger(__name__)


class Keys(NamedTuple):
    """What Redis holds of a queue's bell."""

    rings: str
    """A message is under way."""
    watched: str
    """By whom vigil is kept, while it is."""
    calls: str
    """A list: a call to whoever keeps vigil, or none."""
    messages: str
    """A list: what Celery has not taken yet."""


def keys_of(queue: str) -> Keys:
    """Raises BrokerAway when the installation is not known."""
    return Keys(
        rings=key("bell", queue),
        watched=key("watched", queue),
        calls=key("calls", queue),
        messages=key(CELERY, queue),
    )


def ring(queue: str) -> None:
    """Wake one process that serves ``queue``, if the broker can be reached."""
    _ring(
        queue, lambda redis, keys: bool(redis.eval(_CALL_OR_RING, len(keys), *keys, BELL_SECONDS))
    )


def ring_for_others(queue: str) -> None:
    """Wake one process by a message, though another may keep vigil."""
    _ring(queue, lambda redis, keys: bool(redis.set(keys.rings, 1, nx=True, ex=BELL_SECONDS)))


def silence(queue: str) -> None:
    """The message has arrived: the next ring sends another."""
    with suppress(BrokerAway), client() as redis:
        redis.delete(keys_of(queue).rings)


def stands_unheard(queues: Iterable[str]) -> bool:
    """Whether a bell of one of these queues is in the broker, and nobody has taken it."""
    with suppress(BrokerAway), client() as redis:
        return any(redis.llen(keys_of(queue).messages) for queue in queues)
    return False


def _ring(queue: str, begin: Callable[[Redis, Keys], bool]) -> None:
    try:
        keys = keys_of(queue)
        with client() as redis:
            if not begin(redis, keys):
                return
            try:
                _publish(queue)
            except (OperationalError, RedisError, OSError) as error:
                # Nobody will hear it, so nobody may be kept from ringing.
                redis.delete(keys.rings)
                raise ConnectionError(str(error)) from error
    except BrokerAway:
        logger.info("bell not rung", extra={"queue": queue})


def _publish(queue: str) -> None:
    from taskyard.worker.app import bell

    bell.apply_async((queue,), queue=queue, retry=False)
