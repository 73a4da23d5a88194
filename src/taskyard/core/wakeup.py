"""Tell the workers that a queue has work. The number of messages is bounded; failing is no error.

A wake-up only reduces latency. Notify after the commit; acknowledge before the claim. If an idle
process listens to the queue (``worker/idle_listener.py``), the wake-up calls this process.
Otherwise a Celery message wakes a process, unless a message is under way already. If that message
was lost, another can be sent after ``MESSAGE_SECONDS``. Either way it is one Redis command.
"""

import logging
from collections.abc import Iterable
from contextlib import suppress
from typing import NamedTuple

from taskyard.core.celery_message import wake_up_message
from taskyard.core.redis import BrokerUnavailable, client, key

MESSAGE_SECONDS = 10
# Celery's keys of this installation begin with this; a queue of Celery's is a list below it.
CELERY = "celery"
# Keys: those of a queue. Arguments: MESSAGE_SECONDS, the message.
_SEND = """
if redis.call('SET', KEYS[1], 1, 'NX', 'EX', ARGV[1]) then
    redis.call('LPUSH', KEYS[4], ARGV[2])
end
"""
# One unanswered call is enough for the listener.
_CALL_OR_SEND = f"""
if redis.call('EXISTS', KEYS[2]) == 1 then
    if redis.call('LLEN', KEYS[3]) == 0 then redis.call('RPUSH', KEYS[3], 1) end
    return
end
{_SEND}
"""
logger = logging.getLogger(__name__)


class Keys(NamedTuple):
    """The Redis keys of a queue's wake-ups."""

    message_sent: str
    """Exists while a message is under way."""
    listener: str
    """The name of the idle process that listens. The key expires."""
    calls: str
    """A list: one call for the listener, or nothing."""
    messages: str
    """A list: the messages that Celery has not taken yet."""


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
    _run(_CALL_OR_SEND, queue)


def send_message(queue: str) -> None:
    """Wake one process by a message, even if another process listens."""
    _run(_SEND, queue)


def acknowledge(queue: str) -> None:
    """Note that the message has arrived: the next notification sends another."""
    with suppress(BrokerUnavailable), client() as redis:
        redis.delete(keys_of(queue).message_sent)


def has_undelivered(queues: Iterable[str]) -> bool:
    """Whether the broker has a message of one of these queues that no process has taken."""
    with suppress(BrokerUnavailable), client() as redis:
        return any(redis.llen(keys_of(queue).messages) for queue in queues)
    return False


def _run(script: str, queue: str) -> None:
    try:
        keys = keys_of(queue)
        with client() as redis:
            redis.eval(script, len(keys), *keys, MESSAGE_SECONDS, wake_up_message(queue))
    except BrokerUnavailable:
        logger.info("wake-up not sent", extra={"queue": queue})
