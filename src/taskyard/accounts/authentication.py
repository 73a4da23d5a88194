"""Django REST Framework's authentication classes over ``accounts/credentials.py``."""

from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from taskyard.accounts import credentials
from taskyard.accounts.claims import CHALLENGE, Claims, IssuerClaims, LazyUser
from taskyard.accounts.models import User


class ClaimAuthentication(BaseAuthentication):
    """``request.user`` is a LazyUser.

    For views whose own statement proves that the token or key is still good, or that look the user
    up.
    """

    def authenticate(
        self, request: Request
    ) -> tuple[LazyUser | User, Claims | IssuerClaims] | None:
        """Raises as TokenAuthentication does. The user of another issuer's token is looked up."""
        user = credentials.authenticate(*_headers(request))
        if user is None:
            return None
        return (user if isinstance(user, LazyUser) else user.verified), user.claim

    def authenticate_header(self, request: Request) -> str:
        return CHALLENGE


class TokenAuthentication(BaseAuthentication):
    """``request.user`` is the user, looked up with one query; ``request.auth`` are the claims
    of the token or of the API key."""

    # The same without the query.
    without_lookup = ClaimAuthentication

    def authenticate(self, request: Request) -> tuple[User, Claims | IssuerClaims] | None:
        """Raises AuthenticationFailed for a malformed header, TokenRefused for a bad token.

        SsoUnavailable if only the provider of single sign-on could tell.
        """
        user = credentials.authenticate(*_headers(request))
        return None if user is None else (user.verified, user.claim)

    def authenticate_header(self, request: Request) -> str:
        return CHALLENGE


def _headers(request: Request) -> tuple[str | None, str | None]:
    return request.META.get("HTTP_AUTHORIZATION"), request.META.get("HTTP_ON_BEHALF_OF")
