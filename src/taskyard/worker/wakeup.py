"""Tell the workers that a queue has work. The number of messages is bounded; failing is no error.

A wake-up only reduces latency. Notify after the commit; acknowledge before the claim. If an idle
process listens to the queue (``worker/idle_listener.py``), the wake-up is one Redis command.
Otherwise a Celery message wakes a process, unless a message is under way already. If that message
was lost, another can be sent after ``MESSAGE_SECONDS``.
"""

import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import NamedTuple

from kombu.exceptions import OperationalError
from redis import Redis, RedisError

from taskyard.core.redis import BrokerUnavailable, client, key

MESSAGE_SECONDS = 10
# Celery's part of our names: a queue of Celery's is a list below it.
CELERY = "celery"
# Answers 1 if a message has to be sent. One unanswered call is enough for the listener.
_CALL_OR_SEND = """
if redis.call('EXISTS', KEYS[2]) == 1 then
    if redis.call('LLEN', KEYS[3]) == 0 then redis.call('RPUSH', KEYS[3], 1) end
    return 0
end
return redis.call('SET', KEYS[1], 1, 'NX', 'EX', ARGV[1]) and 1 or 0
"""
logger = logging.getLogger(__name__)


class Keys(NamedTuple):
    """The Redis keys of a queue's wake-ups."""

    message_sent: str
    """A message is under way."""
    listener: str
    """The name of the idle process that listens, while it does."""
    calls: str
    """A list: one call for the listener, or nothing."""
    messages: str
    """A list: what Celery has not taken yet."""


def keys_of(queue: str) -> Keys:
    """Raises BrokerUnavailable when the installation is not known."""
    return Keys(
        message_sent=key("wakeup", queue),
        listener=key("listener", queue),
        calls=key("calls", queue),
        messages=key(CELERY, queue),
    )


def notify(queue: str) -> None:
    """Wake one process that serves ``queue``, if the broker can be reached."""
    _notify(
        queue,
        lambda redis, keys: bool(redis.eval(_CALL_OR_SEND, len(keys), *keys, MESSAGE_SECONDS)),
    )


def send_message(queue: str) -> None:
    """Wake one process by a message, even if another process listens."""
    _notify(
        queue,
        lambda redis, keys: bool(redis.set(keys.message_sent, 1, nx=True, ex=MESSAGE_SECONDS)),
    )


def acknowledge(queue: str) -> None:
    """The message has arrived: the next notification sends another."""
    with suppress(BrokerUnavailable), client() as redis:
        redis.delete(keys_of(queue).message_sent)


def has_undelivered(queues: Iterable[str]) -> bool:
    """Whether the broker has a message of one of these queues that no process has taken."""
    with suppress(BrokerUnavailable), client() as redis:
        return any(redis.llen(keys_of(queue).messages) for queue in queues)
    return False


def _notify(queue: str, begin: Callable[[Redis, Keys], bool]) -> None:
    try:
        keys = keys_of(queue)
        with client() as redis:
            if not begin(redis, keys):
                return
            try:
                _publish(queue)
            except (OperationalError, RedisError, OSError) as error:
                # The message was not sent, so it must not keep the next one back.
                redis.delete(keys.message_sent)
                raise ConnectionError(str(error)) from error
    except BrokerUnavailable:
        logger.info("wake-up not sent", extra={"queue": queue})


def _publish(queue: str) -> None:
    from taskyard.worker.celery_app import wake_up

    wake_up.apply_async((queue,), queue=queue, retry=False)
