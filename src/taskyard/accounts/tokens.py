"""JSON Web Tokens: an access token for an hour, a refresh token for a week.

Each carries a fingerprint of its owner's password, so a changed password ends them all. Refresh
tokens are recorded, without their text, so that logging out and rotation can end them too.
"""

import hashlib
import re
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, TypeVar

from django.conf import settings
from django.db import transaction
from django.db.models import DateTimeField, ExpressionWrapper
from django.db.models.functions import Now
from django.utils.crypto import constant_time_compare, salted_hmac
from rest_framework_simplejwt import tokens as simplejwt
from rest_framework_simplejwt.exceptions import TokenError
from rest_framework_simplejwt.token_blacklist.models import BlacklistedToken, OutstandingToken
from rest_framework_simplejwt.utils import datetime_from_epoch

from taskyard.accounts.errors import TokenRefused
from taskyard.accounts.models import User

FINGERPRINT = "fpr"
LARGEST_ID = 2**63 - 1
# Ours have a third of it; a longer text is not decoded.
LONGEST_TOKEN = 1024
# Everything that a token can do to its reader, from a nested header to an endless lifetime.
UNREADABLE = (TokenError, ValueError, TypeError, KeyError, OverflowError, OSError, RecursionError)


class AccessToken(simplejwt.Token):
    token_type = "access"  # noqa: S105

    @property
    def lifetime(self) -> timedelta:  # type: ignore[override]  # settings are read when asked
        return timedelta(minutes=settings.TASKYARD_ACCESS_MINUTES)


class RefreshToken(simplejwt.Token):
    token_type = "refresh"  # noqa: S105

    @property
    def lifetime(self) -> timedelta:  # type: ignore[override]
        return timedelta(days=settings.TASKYARD_REFRESH_DAYS)


Kind = TypeVar("Kind", AccessToken, RefreshToken)


@dataclass(frozen=True)
class Pair:
    """What a client is given; ``refresh`` is None where it keeps the one it has."""

    access: str
    refresh: str | None = None


@dataclass(frozen=True)
class TokenClaims:
    """What a token says. Whether its user is still there and the same, the database knows."""

    user_id: int
    credential: str


def issue(user: User) -> Pair:
    """A fresh pair, the refresh token recorded."""
    refresh = _for_user(RefreshToken, user)
    _record(refresh, user)
    return Pair(str(_for_user(AccessToken, user)), str(refresh))


def decode(access: str) -> TokenClaims:
    """Whom a token names that was signed by us and has not expired; raises TokenRefused."""
    return valid_until(access)[0]


def valid_until(access: str) -> tuple[TokenClaims, float]:
    """The same, and when it expires, in seconds of the epoch."""
    claim, expires_at = _verified(access)
    if expires_at <= time.time():
        raise TokenRefused
    return claim, expires_at


@lru_cache(maxsize=4096)
def _verified(access: str) -> tuple[TokenClaims, float]:
    """Whom a token names, and until when: it says so as long as it lives."""
    claim, token = _claimed(AccessToken, access)
    return claim, float(token["exp"])


def owner_of(access: str) -> User:
    """The active user whom an access token names, in one query; raises TokenRefused."""
    return _holder(decode(access))


def refresh(text: str) -> Pair:
    """A new access token, and a new refresh token where rotation is on; raises TokenRefused.

    With rotation a refresh token is good once. If it is presented again, somebody holds a copy, so
    the user's other refresh tokens end with it. But an answer may be lost, and two windows may
    refresh at once: for a short time the same token gets the same pair, until that pair is used.
    """
    user, token = _read(RefreshToken, text)
    if not settings.TASKYARD_ROTATE_REFRESH:
        if _is_ended(token):
            raise TokenRefused
        return Pair(str(_for_user(AccessToken, user)))
    pair: Pair | None
    with transaction.atomic():
        # One rotation of a user's tokens at a time: each sees what the one before it left.
        User.objects.select_for_update(no_key=True).get(pk=user.pk)
        if not _is_ended(token):
            pair = _rotate(user, token)
        elif (again := _given_before(user, token)) is not None:
            pair = again
        else:
            pair = None
            _end_all(user)
    if pair is None:
        raise TokenRefused
    return pair


def log_out(text: str) -> None:
    """End a refresh token; ending it twice is no error. Raises TokenRefused."""
    user, token = _read(RefreshToken, text)
    _end(token, user)


def verify(text: str) -> None:
    """Raises TokenRefused for what is neither a valid access nor a valid refresh token."""
    try:
        owner_of(text)
    except TokenRefused:
        _user, token = _read(RefreshToken, text)
        if _is_ended(token):
            raise


def _for_user(kind: type[Kind], user: User) -> Kind:
    token = kind()
    token["user_id"] = str(user.pk)
    token[FINGERPRINT] = _fingerprint(user)
    return token


def _rotate(user: User, token: RefreshToken) -> Pair:
    """End a refresh token; the pair that follows it, recorded."""
    _end(token, user)
    # By the database's clock, for the next request may come to another web.
    BlacklistedToken.objects.filter(token__jti=token["jti"]).update(blacklisted_at=Now())
    now = datetime_from_epoch(int(time.time()))
    access, refresh = _successors(user, token, now)
    _record(refresh, user)
    return Pair(str(access), str(refresh))


def _given_before(user: User, token: RefreshToken) -> Pair | None:
    """The pair that followed a token, if that was a moment ago and the pair was not used since."""
    grace = timedelta(seconds=settings.TASKYARD_ROTATE_GRACE_SECONDS)
    since = ExpressionWrapper(Now() - grace, DateTimeField())
    ended = BlacklistedToken.objects.filter(token__jti=token["jti"], blacklisted_at__gt=since)
    following = OutstandingToken.objects.filter(
        jti=_following(token, RefreshToken), blacklistedtoken=None
    ).first()
    if following is None or following.created_at is None or not ended.exists():
        return None
    access, refresh = _successors(user, token, following.created_at)
    return Pair(str(access), str(refresh))


def _successors(
    user: User, token: RefreshToken, made_at: datetime
) -> tuple[AccessToken, RefreshToken]:
    """The pair that follows a token: of the same moment always the same, to the last byte."""
    return _successor(AccessToken, user, token, made_at), _successor(
        RefreshToken, user, token, made_at
    )


def _successor(kind: type[Kind], user: User, token: RefreshToken, made_at: datetime) -> Kind:
    found = _for_user(kind, user)
    found.current_time = made_at
    found["jti"] = _following(token, kind)
    found.set_iat(at_time=made_at)
    found.set_exp(from_time=made_at, lifetime=found.lifetime)
    return found


def _following(token: RefreshToken, kind: type[AccessToken] | type[RefreshToken]) -> str:
    """The identifier of the token that follows one; only we can know it before it is given."""
    return salted_hmac(f"taskyard.{kind.token_type}", token["jti"], algorithm="sha256").hexdigest()[
        :32
    ]


def _fingerprint(user: User) -> str:
    """As the database computes it too, where a submit proves it (core.engine).

    Nothing can be learnt from it: a password's hash has a random salt.
    """
    return hashlib.sha256(user.password.encode()).hexdigest()[:32]


def _read(kind: type[Kind], text: str) -> tuple[User, Kind]:
    claim, token = _claimed(kind, text)
    return _holder(claim), token


def _holder(claim: TokenClaims) -> User:
    user = User.objects.active(claim.user_id)
    if user is None or not constant_time_compare(claim.credential, _fingerprint(user)):
        raise TokenRefused
    return user


def _claimed(kind: type[Kind], text: str) -> tuple[TokenClaims, Kind]:
    if len(text) > LONGEST_TOKEN:
        raise TokenRefused
    try:
        token = kind(text)  # type: ignore[arg-type]  # the library's annotation is not its use
        claim = TokenClaims(_usable_id(token["user_id"]), _check_text(token[FINGERPRINT]))
        _check_text(token["jti"])
    except UNREADABLE:
        raise TokenRefused from None
    # The leeway is for a token that comes from a clock ahead of ours, not for one that is over.
    if float(token["exp"]) <= time.time():
        raise TokenRefused
    return claim, token


def _usable_id(claim: Any) -> int:
    if not isinstance(claim, str) or not re.fullmatch("[0-9]{1,19}", claim):
        raise ValueError("not a user's id")
    if int(claim) > LARGEST_ID:
        raise ValueError("beyond any user's id")
    return int(claim)


def _check_text(claim: Any) -> str:
    """What a database or a comparison can take: half a surrogate pair or U+0000 is neither."""
    if not isinstance(claim, str) or not re.fullmatch(r"[\x21-\x7e]{1,255}", claim):
        raise ValueError("not a text that we have written")
    return claim


def _record(token: RefreshToken, user: User) -> OutstandingToken:
    return OutstandingToken.objects.get_or_create(
        jti=token["jti"],
        defaults={
            "user": user,
            "token": "",  # whoever reads the table must not be able to use what it records
            "created_at": token.current_time,
            "expires_at": datetime_from_epoch(token["exp"]),
        },
    )[0]


def _is_ended(token: RefreshToken) -> bool:
    return BlacklistedToken.objects.filter(token__jti=token["jti"]).exists()


def _end(token: RefreshToken, user: User) -> None:
    recorded = _record(token, user)
    BlacklistedToken.objects.bulk_create([BlacklistedToken(token=recorded)], ignore_conflicts=True)


def _end_all(user: User) -> None:
    open_ones = OutstandingToken.objects.filter(user=user, blacklistedtoken=None)
    BlacklistedToken.objects.bulk_create(
        [BlacklistedToken(token=each) for each in open_ones], ignore_conflicts=True
    )
