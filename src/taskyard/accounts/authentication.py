"""Django REST Framework's authentication classes over ``accounts/credentials.py``."""

from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from taskyard.accounts import credentials
from taskyard.accounts.claims import CHALLENGE, LazyUser, TokenClaims
from taskyard.accounts.models import User


class ClaimAuthentication(BaseAuthentication):
    """``request.user`` is a LazyUser.

    For views whose own statement proves that the token is still good, or that look the user up.
    """

    def authenticate(self, request: Request) -> tuple[LazyUser, TokenClaims] | None:
        """Raises as TokenAuthentication does."""
        user = credentials.authenticate(_authorization(request))
        return None if user is None else (user, user.claim)

    def authenticate_header(self, request: Request) -> str:
        return CHALLENGE


class TokenAuthentication(BaseAuthentication):
    """``request.user`` is the user, looked up with one query; ``request.auth`` are the claims."""

    # The same without the query.
    without_lookup = ClaimAuthentication

    def authenticate(self, request: Request) -> tuple[User, TokenClaims] | None:
        """Raises AuthenticationFailed for a malformed header, TokenRefused for a bad token."""
        user = credentials.authenticate(_authorization(request))
        return None if user is None else (user.verified, user.claim)

    def authenticate_header(self, request: Request) -> str:
        return CHALLENGE


def _authorization(request: Request) -> str | None:
    return request.META.get("HTTP_AUTHORIZATION")
