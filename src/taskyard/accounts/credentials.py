"""Authenticate requests: the only module that turns an ``Authorization`` header into a user.

``authenticate`` verifies a token without the database. A process asks the database once what a key
may do, and remembers it; it asks the provider of single sign-on for its public keys. ``recall``
never asks, so an event loop can call it. The answer of both looks the user up when that is needed
(``LazyUser.verified``).
"""

from django.utils.translation import gettext_lazy as _
from rest_framework.exceptions import AuthenticationFailed

from taskyard.accounts import keys, tokens
from taskyard.accounts.claims import SUBJECT_MARK, IssuerUser, LazyUser
from taskyard.accounts.errors import OnBehalfRefused
from taskyard.accounts.oidc import configuration

# How each of our own tokens begins; the value is checked when one is decoded.
OUR_HEADER = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9."


def authenticate(
    authorization: str | None, on_behalf_of: str | None = None
) -> LazyUser | IssuerUser | None:
    """The user that the value of an ``Authorization`` header names; None without a bearer token.

    With ``on_behalf_of``, the value of the header On-Behalf-Of, it is a subject of that user.

    Raises AuthenticationFailed for a malformed header, TokenRefused for an unknown key and for a
    token that has expired or that neither we nor the issuer of single sign-on signed,
    SsoUnavailable; with a subject also as ``acting.subject_of`` does.
    """
    text = bearer_token(authorization)
    if text is None:
        return None
    user = _user_of(text)
    if on_behalf_of is None:
        return user
    if isinstance(user, IssuerUser):
        raise OnBehalfRefused
    from taskyard.accounts import acting

    return acting.subject_of(user, on_behalf_of)


def recall(authorization: str | None, on_behalf_of: str | None = None) -> LazyUser | None:
    """As ``authenticate``, but None for a key or a subject that this process has not seen.

    None also for the token of another issuer (``needs_thread``).
    """
    if on_behalf_of is not None:
        account = recall(authorization)
        if account is None:
            return None
        from taskyard.accounts import acting

        return acting.recall(account, on_behalf_of)
    text = bearer_token(authorization)
    if text is not None and keys.is_key(text):
        claims = keys.recall(text)
        return None if claims is None else LazyUser(claims, keys.load_user)
    if text is None or _may_be_of_an_issuer(text):
        return None
    user = authenticate(authorization)
    return user if isinstance(user, LazyUser) else None


def needs_thread(authorization: str | None) -> bool:
    """Whether the value may name an API key or a token of another issuer, which take a wait."""
    try:
        text = bearer_token(authorization)
    except AuthenticationFailed:
        return False
    return text is not None and (keys.is_key(text) or _may_be_of_an_issuer(text))


def _may_be_of_an_issuer(text: str) -> bool:
    if text.startswith((OUR_HEADER, SUBJECT_MARK)):
        return False
    current = configuration.configuration()
    return current is not None and current.audience is not None


def _user_of(text: str) -> LazyUser | IssuerUser:
    if keys.is_key(text):
        return LazyUser(keys.claims_of(text), keys.load_user)
    if text.startswith(SUBJECT_MARK):
        from taskyard.accounts import acting, subject_tokens

        return LazyUser(subject_tokens.decode(text), acting.load_user_of_token)
    if _may_be_of_an_issuer(text):
        from taskyard.accounts.oidc import persons, verification

        return IssuerUser(verification.access_claims(text), persons.load_user)
    return LazyUser(tokens.decode(text), tokens.load_user)


def bearer_token(authorization: str | None) -> str | None:
    """The token of an ``Authorization`` header; None if there is none or the scheme is another.

    Raises AuthenticationFailed for a malformed header.
    """
    parts = (authorization or "").split(maxsplit=2)
    if not parts or parts[0].lower() != "bearer":
        return None
    if len(parts) != 2:
        raise AuthenticationFailed(
            _("The Authorization header must be the word Bearer and one token."),
            code="bad_authorization_header",
        )
    return parts[1]
