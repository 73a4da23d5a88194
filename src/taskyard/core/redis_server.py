"""Which kind of server a Redis is, and whether it can serve at all."""

from typing import Any

from redis import RedisError

from taskyard.core.redis_connection import connect


def why_unusable(url: str) -> str | None:
    """What is wrong with a Redis that cannot serve; None too for one that cannot be asked.

    A cluster spreads our keys over its servers, where no script can reach them together. One
    that evicts may drop wake-ups.
    """
    if (kind := mode(url)) not in (None, "standalone"):
        return (
            f"REDIS_URL names a {kind}; Taskyard needs one Redis server, "
            "or sentinel://…?master_name=… for one with replicas"
        )
    policy = maxmemory_policy(url)
    if policy not in (None, "noeviction"):
        return f"Redis has maxmemory-policy {policy}; Taskyard needs noeviction"
    return None


def maxmemory_policy(url: str) -> str | None:
    """The server's policy, or None when it is away or may not be asked."""
    with connect(url) as client:
        try:
            return str(client.config_get("maxmemory-policy")["maxmemory-policy"])
        except (RedisError, KeyError):
            return None


def mode(url: str) -> str | None:
    """``standalone``, ``cluster`` or ``sentinel``; None when it is away or cannot say."""
    with connect(url) as client:
        try:
            said: Any = client.execute_command("HELLO")
        except RedisError:
            return None
    if not isinstance(said, dict):
        said = dict(zip(said[::2], said[1::2], strict=False))
    found = said.get("mode")
    return None if found is None else str(found)
