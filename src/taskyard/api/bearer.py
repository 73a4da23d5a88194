"""Authenticate a request in an async application, before Django answers it."""

from rest_framework.exceptions import AuthenticationFailed

from taskyard.accounts import credentials
from taskyard.accounts.errors import TokenRefused
from taskyard.live.asgi import Scope, header


def authenticate_scope(scope: Scope) -> tuple[int, float] | None:
    """The user id of a request's valid token, and when it expires, in seconds of the epoch.

    None without a valid token. It does not check that the user still exists and is active: Django
    does, when it answers the request.
    """
    try:
        user = credentials.authenticate(header(scope, b"authorization"))
    except (AuthenticationFailed, TokenRefused):
        return None
    return None if user is None else (user.claim.user_id, user.claim.expires_at)
