"""Authenticate requests: the only module that turns an ``Authorization`` header into a user.

``authenticate`` verifies the token and uses no database, so an event loop can call it. Its answer
looks the user up when that is needed (``LazyUser.verified``).
"""

from django.utils.functional import cached_property
from django.utils.translation import gettext_lazy as _
from rest_framework.exceptions import AuthenticationFailed

from taskyard.accounts import tokens
from taskyard.accounts.models import User
from taskyard.accounts.tokens import TokenClaims

# The value of WWW-Authenticate in a 401, as simplejwt writes it.
CHALLENGE = 'Bearer realm="api"'


class LazyUser:
    """The user that a valid token names, not looked up yet."""

    is_authenticated = True

    def __init__(self, claim: TokenClaims) -> None:
        self.claim = claim

    # Django's property, because until Python 3.12 the standard library's holds one lock for the
    # whole class: if one user's look-up waits for the database, all others wait too.
    @cached_property
    def verified(self) -> User:
        """The user, active and with the password of the token; one query. Raises TokenRefused."""
        return tokens.load_user(self.claim)


def authenticate(authorization: str | None) -> LazyUser | None:
    """The user that the value of an ``Authorization`` header names; None without a bearer token.

    Raises AuthenticationFailed for a malformed header, TokenRefused for a token that we did not
    sign or that has expired.
    """
    access = bearer_token(authorization)
    return None if access is None else LazyUser(tokens.decode(access))


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
