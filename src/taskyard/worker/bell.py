"""Ring a queue's bell: tell the workers that it has work. Bounded, and never an error.

A bell changes latency only. Commit, then ring; silence, then claim. A bell that is ringing
already costs one Redis command; one that was lost rings again after ``BELL_SECONDS`` at the
latest, because upkeep rings for whatever is ready.
"""

import logging
import time
from collections.abc import Iterable
from contextlib import suppress

from kombu.exceptions import OperationalError
from redis import RedisError

from taskyard.core.redis import BrokerAway, client

BELL_SECONDS = 10
HOLD_MILLISECONDS = 1000
KEEP_SECONDS = 0.3
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


class Bell:
    """A queue's bell in the hands of a process that was woken by it.

    While it is held nobody else is woken; the holder says so again and again, for it may die.
    """

    def __init__(self, queue: str) -> None:
        self.queue = queue
        self._held_at: float | None = None
        self._rings = True

    def silence(self) -> None:
        """From now on the next ring wakes somebody."""
        if self._rings:
            self._held_at, self._rings = None, False
            with suppress(BrokerAway), client() as redis:
                redis.delete(_key(self.queue))

    def hold(self) -> bool:
        """Keep it from ringing, if it does not ring already, or go on doing so."""
        if self._held_at is not None:
            self.keep()
            return True
        with suppress(BrokerAway), client() as redis:
            if redis.set(_key(self.queue), 1, nx=True, px=HOLD_MILLISECONDS):
                self._held_at, self._rings = time.monotonic(), True
                return True
        return False

    def keep(self) -> None:
        """Go on holding."""
        if self._held_at is not None and time.monotonic() - self._held_at > KEEP_SECONDS:
            self._held_at = time.monotonic()
            with suppress(BrokerAway), client() as redis:
                redis.set(_key(self.queue), 1, px=HOLD_MILLISECONDS)

    def pass_on(self) -> None:
        """Wake the next process."""
        self.silence()
        ring(self.queue)


def broker_alive() -> bool:
    """Whether the broker answers, within a second."""
    try:
        with client() as redis:
            return bool(redis.ping())
    except BrokerAway:
        return False


def stands_unheard(queues: Iterable[str]) -> bool:
    """Whether a bell of one of these queues is in the broker, and nobody has taken it."""
    with suppress(BrokerAway), client() as redis:
        return any(redis.llen(queue) for queue in queues)
    return False


def _publish(queue: str) -> None:
    from taskyard.worker.app import bell

    bell.apply_async((queue,), queue=queue, retry=False)


def _key(queue: str) -> str:
    return f"taskyard:bell:{queue}"
