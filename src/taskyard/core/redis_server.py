"""Check the mode and the eviction policy of a Redis server."""

from typing import Any

from redis import RedisError

from taskyard.core.redis_connection import connect


def why_unusable(url: str) -> str | None:
    """Why Taskyard cannot use a Redis; None if it can, or if the server does not answer.

    A cluster spreads our keys over its servers, and no script can use them together. A server that
    evicts keys may drop wake-ups.
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
    """The server's eviction policy; None if it does not answer or forbids the command."""
    with connect(url) as client:
        try:
            return str(client.config_get("maxmemory-policy")["maxmemory-policy"])
        except (RedisError, KeyError):
            return None


def mode(url: str) -> str | None:
    """``standalone``, ``cluster`` or ``sentinel``; None if the server does not answer or is old."""
    with connect(url) as client:
        try:
            reply: Any = client.execute_command("HELLO")
        except RedisError:
            return None
    if not isinstance(reply, dict):
        reply = dict(zip(reply[::2], reply[1::2], strict=False))
    server_mode = reply.get("mode")
    return None if server_mode is None else str(server_mode)
