"""Service accounts act on behalf of their subjects: the header On-Behalf-Of with their API key.

Imported only by requests that do so.
"""

from dataclasses import replace

from taskyard.accounts import keys, subjects
from taskyard.accounts.claims import KeyClaims, LazyUser
from taskyard.accounts.errors import OnBehalfRefused, TokenRefused
from taskyard.accounts.models import User


def subject_of(user: LazyUser, name: str) -> LazyUser:
    """The subject of this name of a user who is authenticated by the key of a service account.

    It is made if there is none. For a subject that this process knows, nothing is asked of the
    database: ``verified`` and the statement of a submit prove it. Raises OnBehalfRefused,
    SubjectInvalid, SubjectSuspended, TooManySubjects, and TokenRefused for a key that has been
    revoked.
    """
    claims = user.claim
    if not isinstance(claims, KeyClaims) or claims.account_id is not None:
        _ = user.verified  # whether the token is good comes before what it may do
        raise OnBehalfRefused
    subjects.check_name(name)
    user_id = subjects.remembered(claims.user_id, name)
    if user_id is None:
        _ = user.verified
        user_id = subjects.find_or_create(claims.user_id, name).pk
    return _acting(claims, user_id, name)


def recall(account: LazyUser, name: str) -> LazyUser | None:
    """The subject, if this process has seen it; uses no database."""
    claims = account.claim
    if not isinstance(claims, KeyClaims) or claims.account_id is not None:
        return None
    user_id = subjects.remembered(claims.user_id, name)
    return None if user_id is None else _acting(claims, user_id, name)


def load_user_of_token(claims: KeyClaims) -> User:
    """The active subject of a token whose key and account hold. Raises TokenRefused."""
    user = User.objects.active(claims.user_id, claims.proof)
    if user is None:
        raise TokenRefused
    return user


def _acting(claims: KeyClaims, user_id: int, name: str) -> LazyUser:
    acting = replace(claims, user_id=user_id, account_id=claims.user_id, subject=name)
    return LazyUser(acting, _load_user)


def _load_user(claims: KeyClaims) -> User:
    """The active subject, in one query; it is made again if it was deleted.

    Raises TokenRefused, and as ``subjects.find_or_create`` does.
    """
    user = User.objects.active(claims.user_id, claims.proof)
    if user is not None:
        return user
    account_id = claims.account_id
    if account_id is None:
        raise OnBehalfRefused
    keys.load_user(replace(claims, user_id=account_id, account_id=None, subject=""))
    return subjects.find_or_create(account_id, claims.subject)
