"""Ring a queue's bell: tell the workers that it has work. Bounded, and never an error.

A bell changes latency only. Commit, then ring; silence, then claim. A bell that is ringing
already costs one Redis command; one that was lost rings again after ``BELL_SECONDS`` at the
latest, because upkeep rings for whatever is ready.
"""

import logging

from kombu.exceptions import OperationalError
from redis import RedisError

from taskyard.core.redis import BrokerAway, client

BELL_SECONDS = 10
logger = logging.getLogger(__name__)


def ring(queue: str) -> None:
    """Wake one idle process that serves ``queue``, if the broker can be reached."""
    try:
        with client() as redis:
            if not redis.set(_key(queue), 1, nx=True, ex=BELL_SECONDS):
                return
            try:
                _publish(queue)
            except (OperationalError, RedisError, OSError) as error:
                # Nobody will hear it, so nobody may be kept from ringing.
                redis.delete(_key(queue))
                raise ConnectionError(str(error)) from error
    except BrokerAway:
        logger.info("bell not rung", extra={"queue": queue})


def silence(queue: str) -> None:
    """The bell was heard: the next ring is a new one."""
    try:
        with client() as redis:
            redis.delete(_key(queue))
    except BrokerAway:
        pass


def broker_alive() -> bool:
    """Whether the broker answers, within a second."""
    try:
        with client() as redis:
            return bool(redis.ping())
    except BrokerAway:
        return False


def _publish(queue: str) -> None:
    from taskyard.worker.app import bell

    bell.apply_async((queue,), queue=queue, retry=False)


def _key(queue: str) -> str:
    return f"taskyard:bell:{queue}"
