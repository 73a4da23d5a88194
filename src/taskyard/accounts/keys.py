"""API keys: made and shown once, stored as a hash, revoked at once.

What a key may do never changes, so a process remembers it by the key's hash. Whether the key still
exists, has not expired and has an active user, the database proves in each request
(``accounts/proofs.py``, docs/adr/0027).
"""

import hashlib
import logging
import math
import re
import secrets
import string
import time
from collections import OrderedDict
from datetime import timedelta
from threading import Lock

from django.db import DatabaseError, IntegrityError, InterfaceError, transaction
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.crypto import constant_time_compare

from taskyard.accounts.claims import KeyClaims
from taskyard.accounts.errors import TokenRefused, TooManyKeys
from taskyard.accounts.models import ApiKey, User
from taskyard.accounts.new_key import NewKey
from taskyard.core import audit

MOST_KEYS = 100
# What all keys begin with, so that scanners of secrets find them.
MARK = "ty_"
SECRET_BYTES = 32
PREFIX_LENGTH = 8
PREFIX_LETTERS = string.ascii_lowercase + string.digits
REMEMBERED = 4096
USED_SECONDS = 60.0

_KEY = re.compile(rf"{MARK}([a-z0-9]{{{PREFIX_LENGTH}}})_[0-9a-f]{{{2 * SECRET_BYTES}}}")
logger = logging.getLogger(__name__)


class Remembered:
    """The claims of the keys that this process has seen last, by digest."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._claims: OrderedDict[str, KeyClaims] = OrderedDict()
        self._lock = Lock()

    def get(self, digest: str) -> KeyClaims | None:
        with self._lock:
            claims = self._claims.get(digest)
            if claims is not None:
                self._claims.move_to_end(digest)
            return claims

    def add(self, claims: KeyClaims) -> None:
        with self._lock:
            self._claims[claims.digest] = claims
            if len(self._claims) > self._most:
                self._claims.popitem(last=False)


_remembered = Remembered(REMEMBERED)
# When this process last noted the use of a key, by digest, in seconds of the monotonic clock.
_noted: dict[str, float] = {}


def create(user: User, new: NewKey, *, by_id: int | None = None) -> tuple[ApiKey, str]:
    """Make a key; the row, and the text, which is shown once. Raises TooManyKeys, TokenRefused.

    ``by_id`` is the user who makes it, if another one does.
    """
    while True:
        prefix = "".join(secrets.choice(PREFIX_LETTERS) for _ in range(PREFIX_LENGTH))
        text = f"{MARK}{prefix}_{secrets.token_hex(SECRET_BYTES)}"
        try:
            return _insert(user, new, prefix, text, by_id or user.pk), text
        except IntegrityError:
            if not ApiKey.objects.filter(prefix=prefix).exists():
                raise


def of_user(user: User) -> list[ApiKey]:
    """The user's keys, the oldest first."""
    return list(ApiKey.objects.filter(user=user).order_by("id"))


def revoke(user: User, key_id: int, *, by_id: int | None = None) -> bool:
    """Delete a key of the user; False if there is none of this id. It is refused at once."""
    with transaction.atomic():
        key = ApiKey.objects.select_for_update().filter(user=user, id=key_id).first()
        if key is None:
            return False
        key.delete()
        audit.record(by_id or user.pk, "revoke_key", key.prefix, name=key.name)
    return True


def is_key(text: str) -> bool:
    """Whether a bearer token wants to be an API key."""
    return text.startswith(MARK)


def recall(text: str) -> KeyClaims | None:
    """What a key says, if this process has seen it. Uses no database."""
    return _remembered.get(_digest(text)) if _KEY.fullmatch(text) else None


def claims_of(text: str) -> KeyClaims:
    """What a key says; one query when this process sees it first. Raises TokenRefused."""
    match = _KEY.fullmatch(text)
    if match is None:
        raise TokenRefused
    digest = _digest(text)
    claims = _remembered.get(digest)
    if claims is None:
        claims = _find(match[1], digest)
        _remembered.add(claims)
    return claims


def load_user(claims: KeyClaims) -> User:
    """The active user of a key that has neither expired nor been revoked, in one query.

    Raises TokenRefused.
    """
    user = User.objects.active(claims.user_id, claims.proof)
    if user is None:
        raise TokenRefused
    return user


def note_use(claims: KeyClaims) -> None:
    """Write that the key was used, at most once a minute; called after the response.

    Without a usable database nothing is written.
    """
    now = time.monotonic()
    if now - _noted.get(claims.digest, -math.inf) < USED_SECONDS:
        return
    if len(_noted) > REMEMBERED:
        _noted.clear()
    _noted[claims.digest] = now
    stale = Q(last_used_at=None) | Q(last_used_at__lt=Now() - timedelta(seconds=USED_SECONDS))
    try:
        ApiKey.objects.filter(stale, digest=claims.digest).update(last_used_at=Now())
    except (DatabaseError, InterfaceError) as error:
        logger.warning("use of a key not noted: %s", error)


def _insert(user: User, new: NewKey, prefix: str, text: str, by_id: int) -> ApiKey:
    with transaction.atomic():
        # One key of a user at a time, so that there are never more than allowed.
        if not User.objects.select_for_update(no_key=True).filter(pk=user.pk):
            raise TokenRefused  # deleted meanwhile
        if ApiKey.objects.filter(user=user).count() >= MOST_KEYS:
            raise TooManyKeys(limit=MOST_KEYS)
        key = ApiKey.objects.create(
            user=user,
            name=new.name,
            prefix=prefix,
            digest=_digest(text),
            scopes=list(dict.fromkeys(scope.value for scope in new.scopes)),
            task_types=None if new.task_types is None else list(dict.fromkeys(new.task_types)),
            expires_at=new.expires_at,
        )
        audit.record(by_id, "create_key", prefix, name=new.name)
    return key


def _find(prefix: str, digest: str) -> KeyClaims:
    key = ApiKey.objects.filter(prefix=prefix).first()
    if key is None or not constant_time_compare(key.digest, digest):
        raise TokenRefused
    return KeyClaims(
        user_id=key.user_id,
        key_id=key.pk,
        digest=digest,
        scopes=frozenset(key.scopes),
        task_types=None if key.task_types is None else frozenset(key.task_types),
        expires_at=math.inf if key.expires_at is None else key.expires_at.timestamp(),
    )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
