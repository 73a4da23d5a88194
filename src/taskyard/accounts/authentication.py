"""Who a request comes from: ``Authorization: Bearer <access token>``."""

from django.utils.functional import cached_property
from django.utils.translation import gettext_lazy as _
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from taskyard.accounts import tokens
from taskyard.accounts.models import User

# What a 401 says of how to come in, as simplejwt says it.
CHALLENGE = 'Bearer realm="api"'


class TokenAuthentication(BaseAuthentication):
    """DRF's way in. No header, or another scheme, is nobody; a bad token is refused."""

    def authenticate(self, request: Request) -> tuple[User, str] | None:
        """Raises AuthenticationFailed for a malformed header, TokenRefused for a bad token."""
        access = token_of(request)
        return None if access is None else (tokens.owner_of(access), access)

    def authenticate_header(self, request: Request) -> str:
        return CHALLENGE


class LazyUser:
    """Who is named by a valid token, and not yet looked up."""

    is_authenticated = True

    def __init__(self, access: str) -> None:
        self.claim = tokens.decode(access)
        self._access = access

    # Django's: until Python 3.12 the standard library's holds one lock for all of a class, and one
    # owner's wait for the database would be everybody's.
    @cached_property
    def verified(self) -> User:
        """The user; raises TokenRefused."""
        return tokens.owner_of(self._access)


class ClaimAuthentication(BaseAuthentication):
    """For views whose own statement proves that the token is still good, or that look it up."""

    def authenticate(self, request: Request) -> tuple[LazyUser, str] | None:
        """Raises as TokenAuthentication does."""
        access = token_of(request)
        return None if access is None else (LazyUser(access), access)

    def authenticate_header(self, request: Request) -> str:
        return CHALLENGE


def token_of(request: Request) -> str | None:
    """The access token that a request carries; raises AuthenticationFailed."""
    parts = request.META.get("HTTP_AUTHORIZATION", "").split()
    if not parts or parts[0].lower() != "bearer":
        return None
    if len(parts) != 2:
        raise AuthenticationFailed(
            _("The Authorization header must be the word Bearer and one token."),
            code="bad_authorization_header",
        )
    return str(parts[1])
