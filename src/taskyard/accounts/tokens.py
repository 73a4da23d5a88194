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

from django.db import transaction
from django.db.models import DateTimeField, ExpressionWrapper
from django.db.models.functions import Now
from django.utils.crypto import constant_time_compare, salted_hmac
from rest_framework_simplejwt import tokens as simplejwt
from rest_framework_simplejwt.exceptions import TokenError
from rest_framework_simplejwt.token_blacklist.models import BlacklistedToken, OutstandingToken
from rest_framework_simplejwt.utils import datetime_from_epoch

from taskyard.accounts.claims import TokenClaims
from taskyard.accounts.errors import TokenRefused
from taskyard.accounts.models import User
from taskyard.accounts.oidc.configuration import passwords_are_on
from taskyard.core.conf import conf
from taskyard.core.types import LARGEST_ID

FINGERPRINT = "fpr"
# A longer token is not decoded; ours have a third of this length.
LONGEST_TOKEN = 1024
# Everything that reading a token raises, from a nested header to an endless lifetime.
UNREADABLE = (TokenError, ValueError, TypeError, KeyError, OverflowError, OSError, RecursionError)


class AccessToken(simplejwt.Token):
    token_type = "access"  # noqa: S105

    @property
    def lifetime(self) -> timedelta:  # type: ignore[override]  # the setting can change
        return timedelta(minutes=conf().ACCESS_MINUTES)


class RefreshToken(simplejwt.Token):
    token_type = "refresh"  # noqa: S105

    @property
    def lifetime(self) -> timedelta:  # type: ignore[override]
        return timedelta(days=conf().REFRESH_DAYS)


Kind = TypeVar("Kind", AccessToken, RefreshToken)


@dataclass(frozen=True)
class Pair:
    """The tokens that a client receives; ``refresh`` is None if it keeps the one that it has."""

    access: str
    refresh: str | None = None


def issue(user: User) -> Pair:
    """Make a new pair, and record the refresh token."""
    refresh = _for_user(RefreshToken, user)
    _record(refresh, user)
    return Pair(str(_for_user(AccessToken, user)), str(refresh))


def decode(access: str) -> TokenClaims:
    """The claims of an access token that we signed and that has not expired.

    Uses no database. Raises TokenRefused.
    """
    claim = _verified(access)
    if claim.expires_at <= time.time():
        raise TokenRefused
    return claim


@lru_cache(maxsize=4096)
def _verified(access: str) -> TokenClaims:
    """Verify a token's signature once, because the same token comes with many requests."""
    return _claimed(AccessToken, access)[0]


def load_user(claim: TokenClaims) -> User:
    """The active user that a token names, in one query.

    Raises TokenRefused if the user is gone or inactive, or if the password has changed.
    """
    user = User.objects.active(claim.user_id)
    if user is None or not constant_time_compare(claim.credential, _fingerprint(user)):
        raise TokenRefused
    return user


def refresh(text: str) -> Pair:
    """A new access token, and with rotation a new refresh token; raises TokenRefused.

    Only a log-in with a password begins these tokens, so they end where such log-ins are off.
    With rotation a refresh token is valid once. A second use may mean that the token was stolen,
    so it ends the user's other refresh tokens. But a response may be lost, and two windows may
    refresh at once: for a short time the same token returns the same pair, until that pair is used.
    """
    user, token = _read(RefreshToken, text)
    if not passwords_are_on():
        raise TokenRefused
    if not conf().ROTATE_REFRESH:
        if _is_ended(token):
            raise TokenRefused
        return Pair(str(_for_user(AccessToken, user)))
    pair: Pair | None
    with transaction.atomic():
        # One rotation of a user's tokens at a time: each sees the result of the one before.
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
    """Revoke a refresh token; to revoke it twice is no error. Raises TokenRefused."""
    user, token = _read(RefreshToken, text)
    _end(token, user)


def verify(text: str) -> None:
    """Raises TokenRefused unless the text is a valid access or refresh token."""
    try:
        load_user(decode(text))
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
    """Revoke a refresh token; make and record the pair that follows it."""
    _end(token, user)
    # By the database's clock, because another web process may receive the next request.
    BlacklistedToken.objects.filter(token__jti=token["jti"]).update(blacklisted_at=Now())
    now = datetime_from_epoch(int(time.time()))
    access, refresh = _successors(user, token, now)
    _record(refresh, user)
    return Pair(str(access), str(refresh))


def _given_before(user: User, token: RefreshToken) -> Pair | None:
    """The pair that followed a token, if the grace time is not over and the pair was not used."""
    grace = timedelta(seconds=conf().ROTATE_GRACE_SECONDS)
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
    """The pair that follows a token; with the same ``made_at`` always the same text."""
    return _successor(AccessToken, user, token, made_at), _successor(
        RefreshToken, user, token, made_at
    )


def _successor(kind: type[Kind], user: User, token: RefreshToken, made_at: datetime) -> Kind:
    successor = _for_user(kind, user)
    successor.current_time = made_at
    successor["jti"] = _following(token, kind)
    successor.set_iat(at_time=made_at)
    successor.set_exp(from_time=made_at, lifetime=successor.lifetime)
    return successor


def _following(token: RefreshToken, kind: type[AccessToken] | type[RefreshToken]) -> str:
    """The identifier of the token that follows ``token``; it cannot be computed without our key."""
    return salted_hmac(f"taskyard.{kind.token_type}", token["jti"], algorithm="sha256").hexdigest()[
        :32
    ]


def _fingerprint(user: User) -> str:
    """A hash of the password's hash. The statement of a submit computes the same (core.engine).

    It reveals nothing, because a password's hash has a random salt.
    """
    return hashlib.sha256(user.password.encode()).hexdigest()[:32]


def _read(kind: type[Kind], text: str) -> tuple[User, Kind]:
    claim, token = _claimed(kind, text)
    return load_user(claim), token


def _claimed(kind: type[Kind], text: str) -> tuple[TokenClaims, Kind]:
    if len(text) > LONGEST_TOKEN:
        raise TokenRefused
    try:
        token = kind(text)  # type: ignore[arg-type]  # the library's annotation is not its use
        claim = TokenClaims(
            user_id=_usable_id(token["user_id"]),
            credential=_check_text(token[FINGERPRINT]),
            expires_at=float(token["exp"]),
        )
        _check_text(token["jti"])
    except UNREADABLE:
        raise TokenRefused from None
    # The leeway is for tokens of a clock that is ahead of ours, not for expired tokens.
    if claim.expires_at <= time.time():
        raise TokenRefused
    return claim, token


def _usable_id(claim: Any) -> int:
    if not isinstance(claim, str) or not re.fullmatch("[0-9]{1,19}", claim):
        raise ValueError("not a user's id")
    if int(claim) > LARGEST_ID:
        raise ValueError("beyond any user's id")
    return int(claim)


def _check_text(claim: Any) -> str:
    """The text, if it is printable ASCII: a database refuses half a surrogate pair and U+0000."""
    if not isinstance(claim, str) or not re.fullmatch(r"[\x21-\x7e]{1,255}", claim):
        raise ValueError("not a text that we wrote")
    return claim


def _record(token: RefreshToken, user: User) -> OutstandingToken:
    return OutstandingToken.objects.get_or_create(
        jti=token["jti"],
        defaults={
            "user": user,
            "token": "",  # a reader of the table must not get usable tokens
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
    valid = OutstandingToken.objects.filter(user=user, blacklistedtoken=None)
    BlacklistedToken.objects.bulk_create(
        [BlacklistedToken(token=token) for token in valid], ignore_conflicts=True
    )
