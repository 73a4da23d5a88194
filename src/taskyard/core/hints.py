"""Hints: messages over Redis pub/sub that name changed tasks.

A hint only reduces latency: after a lost one, the next sweep finds the change.
"""

from collections.abc import Iterable

import orjson

from taskyard.core.redis import BrokerUnavailable, client, key
from taskyard.core.types import Change, UserId

# If more tasks change at once, the hint names none of them.
MOST_NAMED = 100
ANYTHING = b'"*"'
# The new statuses of an owner's tasks by id; None: any of the owner's tasks may have changed.
Hint = dict[int, str] | None


def common_channel() -> str:
    """A channel without hints, to which a hub is always subscribed: Redis needs at least one."""
    return key("live")


def channel(owner_id: UserId) -> str:
    """The channel of an owner. Raises BrokerUnavailable while the installation's id is unknown."""
    return key("live", str(owner_id))


def publish(changes: Iterable[Change]) -> None:
    """Publish the hints of these changes in one round trip. An unavailable broker is ignored."""
    hints: dict[UserId, dict[str, str]] = {}
    for owner_id, task_id, status in changes:
        if owner_id is not None:  # no stream shows a system task
            hints.setdefault(owner_id, {})[str(task_id)] = status.value
    if not hints:
        return
    try:
        payloads = [
            (channel(owner_id), orjson.dumps(statuses) if len(statuses) <= MOST_NAMED else ANYTHING)
            for owner_id, statuses in hints.items()
        ]
        with client() as redis:
            if len(payloads) == 1:
                redis.publish(*payloads[0])
                return
            pipeline = redis.pipeline(transaction=False)
            for name, payload in payloads:
                pipeline.publish(name, payload)
            pipeline.execute()
    except BrokerUnavailable:
        pass  # the sweeps of the hubs find the changes


def parse(payload: bytes) -> Hint:
    """The hint of a payload. An unreadable one means that any task may have changed."""
    try:
        return {int(task_id): str(status) for task_id, status in orjson.loads(payload).items()}
    except (ValueError, TypeError, AttributeError):
        return None
