"""Rate limits of registrations, logins, links, keys and mails, counted in Redis by atomic scripts.

A window begins with its first count. While Redis is away there are no limits, so that an outage
locks no user out; the log has a warning.
"""

import hashlib
import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager

from taskyard.accounts.errors import Throttled
from taskyard.accounts.usernames import name_key
from taskyard.core.conf import conf
from taskyard.core.rates import parse_rate
from taskyard.core.redis import BrokerUnavailable, client
from taskyard.core.redis import key as redis_key
from taskyard.core.types import UserId

# The default of TASKYARD_ATTEMPT_RATE is so many times TASKYARD_LOGIN_RATE.
ATTEMPTS_PER_FAILURE = 20

# Each link to a task, and each API key, leaves a line in the audit log.
LINKS = (1000, 3600)
KEYS = (1000, 3600)

# Returns -1 after it has counted, or the milliseconds until the window ends if it is full.
_TAKE = """
local taken = tonumber(redis.call('GET', KEYS[1]) or '0')
if taken >= tonumber(ARGV[1]) then return math.max(redis.call('PTTL', KEYS[1]), 0) end
redis.call('INCR', KEYS[1])
if taken == 0 then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return -1
"""
_GIVE_BACK = """
if tonumber(redis.call('GET', KEYS[1]) or '0') > 0 then redis.call('DECR', KEYS[1]) end
"""

logger = logging.getLogger(__name__)


def count_registration(address: str) -> None:
    """Count a registration. Raises Throttled if the address has registered too often."""
    _take(_key("register", address), parse_rate(conf().REGISTER_RATE))


def count_attempt(address: str) -> None:
    """Count a login. Raises Throttled if the address has tried too often, also with success.

    This limit holds for all names together, because each attempt costs a hash.
    """
    limit = parse_rate(conf().ATTEMPT_RATE)
    if limit is None and (failures := parse_rate(conf().LOGIN_RATE)):
        limit = ATTEMPTS_PER_FAILURE * failures[0], failures[1]
    _take(_key("attempt", address), limit)


def count_link(owner_id: UserId) -> None:
    """Count a new link to a task. Raises Throttled if the owner has made too many."""
    _take(_key("link", str(owner_id)), LINKS)


def count_key(user_id: UserId) -> None:
    """Count a new API key. Raises Throttled if the user has made too many."""
    _take(_key("key", str(user_id)), KEYS)


def count_mail(recipient: str, address: str) -> None:
    """Count a mail that a client asks for, also one that is not sent in the end.

    Raises Throttled if the client's address, or any clients for this recipient, asked too often.
    """
    limit = parse_rate(conf().EMAIL_RATE)
    _take(_key("mail-from", address), limit)
    _take(_key("mail-to", recipient.lower()), limit)


@contextmanager
def counting_failures(failure: type[Exception], *, username: str, address: str) -> Iterator[None]:
    """Count the block if it raises ``failure``. Raises Throttled after too many failures.

    It counts before the block and takes the count back unless the block fails. So concurrent
    guesses cannot exceed the rate, and an outage does not count.
    """
    key = _key("login", name_key(username), address)
    counted = _take(key, parse_rate(conf().LOGIN_RATE))
    try:
        yield
    except failure:
        raise
    except BaseException:
        if counted:
            _give_back(key)
        raise
    if counted:
        _give_back(key)


def _key(*parts: str) -> str:
    digest = hashlib.sha256("\n".join(parts).encode("utf-8", "replace")).hexdigest()
    return f"{parts[0]}:{digest[:32]}"


def _take(key: str, limit: tuple[int, int] | None) -> bool:
    """Count once; False without a limit or a Redis. Raises Throttled if the window is full."""
    if limit is None:
        return False
    try:
        with client() as redis:
            counter = redis_key("throttle", key)
            milliseconds = int(redis.eval(_TAKE, 1, counter, str(limit[0]), str(limit[1] * 1000)))
    except BrokerUnavailable as error:
        logger.warning("throttle passed without Redis: %s", error)
        return False
    if milliseconds >= 0:
        raise Throttled(max(1, math.ceil(milliseconds / 1000)))
    return True


def _give_back(key: str) -> None:
    try:
        with client() as redis:
            redis.eval(_GIVE_BACK, 1, redis_key("throttle", key))
    except BrokerUnavailable as error:
        logger.warning("throttle not given back without Redis: %s", error)
