"""Django REST Framework's authentication classes over ``accounts/credentials.py``."""

from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from taskyard.accounts import credentials
from taskyard.accounts.credentials import CHALLENGE, LazyUser
from taskyard.accounts.models import User


class TokenAuthentication(BaseAuthentication):
    """``request.user`` is the user, looked up with one query."""

    def authenticate(self, request: Request) -> tuple[User, None] | None:
        """Raises AuthenticationFailed for a malformed header, TokenRefused for a bad token."""
        user = credentials.authenticate(_authorization(request))
        return None if user is None else (user.verified, None)

    def authenticate_header(self, request: Request) -> str:
        return CHALLENGE


class ClaimAuthentication(BaseAuthentication):
    """``request.user`` is a LazyUser.

    For views whose own statement proves that the token is still good, or that look the user up.
    """

    def authenticate(self, request: Request) -> tuple[LazyUser, None] | None:
        """Raises as TokenAuthentication does."""
        user = credentials.authenticate(_authorization(request))
        return None if user is None else (user, None)

    def authenticate_header(self, request: Request) -> str:
        return CHALLENGE


def _authorization(request: Request) -> str | None:
    return request.META.get("HTTP_AUTHORIZATION")
