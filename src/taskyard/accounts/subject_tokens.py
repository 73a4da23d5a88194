"""Tokens with which a browser reads the tasks of one subject, and does nothing else.

The backend of a service account asks for one and hands it on. It is signed and stored nowhere, has
the scope ``tasks:read``, and cannot be refreshed. It names the key that made it: with the key, the
account and the subject it ends, because each request proves all three (``proofs.of_subject``).
"""

import re
import time
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from rest_framework_simplejwt import tokens as simplejwt

from taskyard.accounts.claims import SUBJECT_MARK, KeyClaims
from taskyard.accounts.errors import TokenRefused
from taskyard.accounts.scopes import Scope
from taskyard.accounts.tokens import LONGEST_TOKEN, UNREADABLE
from taskyard.core.types import LARGEST_ID

USUAL_SECONDS = 15 * 60
LEAST_SECONDS, MOST_SECONDS = 60, 3600


class SubjectToken(simplejwt.Token):
    token_type = "subject"  # noqa: S105  # no access token: what takes those refuses it
    lifetime = timedelta(seconds=USUAL_SECONDS)


def issue(claims: KeyClaims, *, user_id: int, subject: str, seconds: int) -> tuple[str, datetime]:
    """A token for a subject, and when it expires: not after the key of the account."""
    expires_at = int(min(time.time() + seconds, claims.expires_at))
    token = SubjectToken()
    token["exp"] = expires_at
    token["user_id"], token["account_id"] = str(user_id), str(claims.user_id)
    token["key_id"], token["key"], token["subject"] = str(claims.key_id), claims.digest, subject
    return f"{SUBJECT_MARK}{token}", datetime.fromtimestamp(expires_at, UTC)


def decode(text: str) -> KeyClaims:
    """What a token says that we signed and that has not expired.

    Uses no database. Raises TokenRefused.
    """
    claims = _verified(text)
    if claims.expires_at <= time.time():
        raise TokenRefused
    return claims


@lru_cache(maxsize=4096)
def _verified(text: str) -> KeyClaims:
    if len(text) > LONGEST_TOKEN:
        raise TokenRefused
    try:
        token = SubjectToken(text.removeprefix(SUBJECT_MARK))  # type: ignore[arg-type]  # as in tokens
        return KeyClaims(
            user_id=_id(token["user_id"]),
            key_id=_id(token["key_id"]),
            digest=_matching(r"[0-9a-f]{64}", token["key"]),
            scopes=frozenset({Scope.TASKS_READ.value}),
            task_types=None,
            expires_at=float(token["exp"]),
            account_id=_id(token["account_id"]),
            subject=_matching(r"[\x21-\x7e]{1,100}", token["subject"]),
            is_subject_token=True,
        )
    except UNREADABLE:
        raise TokenRefused from None


def _id(claim: Any) -> int:
    number = int(_matching(r"[0-9]{1,19}", claim))
    if number > LARGEST_ID:
        raise ValueError("beyond any id")
    return number


def _matching(pattern: str, claim: Any) -> str:
    if not isinstance(claim, str) or not re.fullmatch(pattern, claim):
        raise ValueError("not a text that we wrote")
    return claim
