"""A client of the Redis that a URL names, none of whose calls waits longer than a second."""

from typing import Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import Sentinel

from taskyard.core import redis_url

TIMEOUT_SECONDS = 1.0


def connect(url: str) -> Redis:
    """The client. By sentinels, it follows the primary that they name. Raises ValueError."""
    said = redis_url.parse(url)
    bounds: dict[str, Any] = {
        "socket_timeout": TIMEOUT_SECONDS,
        "socket_connect_timeout": TIMEOUT_SECONDS,
        "retry": Retry(NoBackoff(), 0),
    }
    options = {**said.connection(), **bounds, "decode_responses": True}
    if said.master_name is None:
        host, port = said.servers[0]
        return Redis(host=host, port=port, **options)
    sentinels: Any = Sentinel(said.servers, sentinel_kwargs={**said.sentinel(), **bounds})  # type: ignore[no-untyped-call]
    client: Redis = sentinels.master_for(said.master_name, **options)
    return client
