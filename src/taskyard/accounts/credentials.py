"""Authenticate requests: the only module that turns an ``Authorization`` header into a user.

``authenticate`` verifies the token and uses no database, so an event loop can call it. Its answer
looks the user up when that is needed (``LazyUser.verified``).
"""

from django.utils.translation import gettext_lazy as _
from rest_framework.exceptions import AuthenticationFailed

from taskyard.accounts import tokens
from taskyard.accounts.claims import LazyUser


def authenticate(authorization: str | None) -> LazyUser | None:
    """The user that the value of an ``Authorization`` header names; None without a bearer token.

    Raises AuthenticationFailed for a malformed header, TokenRefused for a token that we did not
    sign or that has expired.
    """
    access = bearer_token(authorization)
    return None if access is None else LazyUser(tokens.decode(access), tokens.load_user)


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
