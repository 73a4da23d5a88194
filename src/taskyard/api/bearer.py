"""Authenticate an ASGI request by its access token, without a query."""

from taskyard.accounts.errors import TokenRefused
from taskyard.accounts.tokens import valid_until
from taskyard.live.asgi import Scope, header


def authenticate_scope(scope: Scope) -> tuple[int, float] | None:
    """The user's id in the valid token of a request, and the Unix time at which it expires.

    Only the WSGI application checks in the database that the user is still active.
    """
    parts = (header(scope, b"authorization") or "").split(maxsplit=2)
    if len(parts) != 2 or parts[0].lower() != "bearer":
        return None
    try:
        claim, expires_at = valid_until(parts[1])
    except TokenRefused:
        return None
    return claim.user_id, expires_at
