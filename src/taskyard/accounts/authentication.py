"""Who a request comes from: ``Authorization: Bearer <access token>``."""

from django.utils.translation import gettext_lazy as _
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from taskyard.accounts import tokens
from taskyard.accounts.models import User


class TokenAuthentication(BaseAuthentication):
    """DRF's way in. No header, or another scheme, is nobody; a bad token is refused."""

    def authenticate(self, request: Request) -> tuple[User, str] | None:
        """Raises AuthenticationFailed for a malformed header, TokenRefused for a bad token."""
        parts = request.META.get("HTTP_AUTHORIZATION", "").split()
        if not parts or parts[0].lower() != "bearer":
            return None
        if len(parts) != 2:
            raise AuthenticationFailed(
                _("The Authorization header must be the word Bearer and one token."),
                code="bad_authorization_header",
            )
        return tokens.owner_of(parts[1]), parts[1]

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"
