"""Hints: what changed, said over Redis pub/sub. Lost hints are made good by the next read."""

from collections.abc import Iterable

import orjson

from taskyard.core.redis import BrokerUnavailable, client, key
from taskyard.core.types import Change

# More tasks than this at once, and the hint is only that much has changed.
MOST_NAMED = 100
ANYTHING = b'"*"'
# The statuses of an owner's tasks; None: something has changed, or may have.
Hint = dict[int, str] | None


def common_channel() -> str:
    """Where no hints go: always subscribed, for there is no subscribing to nothing."""
    return key("live")


def channel(owner_id: int) -> str:
    """Where an owner's hints go. Raises BrokerUnavailable when the installation is not known."""
    return key("live", str(owner_id))


def publish(changes: Iterable[Change]) -> None:
    """Tell whoever listens to these owners' tasks: one round trip. Bounded, and never an error."""
    hints: dict[int, dict[str, str]] = {}
    for owner_id, task_id, status in changes:
        hints.setdefault(owner_id, {})[str(task_id)] = status.value
    if not hints:
        return
    try:
        payloads = [
            (channel(owner_id), orjson.dumps(named) if len(named) <= MOST_NAMED else ANYTHING)
            for owner_id, named in hints.items()
        ]
        with client() as redis:
            if len(payloads) == 1:
                redis.publish(*payloads[0])
                return
            pipeline = redis.pipeline(transaction=False)
            for where, payload in payloads:
                pipeline.publish(where, payload)
            pipeline.execute()
    except BrokerUnavailable:
        pass  # streams and waits read for themselves while the broker is away


def parse(payload: bytes) -> Hint:
    """What a payload says; one that cannot be read says that something may have changed."""
    try:
        return {int(task_id): str(status) for task_id, status in orjson.loads(payload).items()}
    except (ValueError, TypeError, AttributeError):
        return None
