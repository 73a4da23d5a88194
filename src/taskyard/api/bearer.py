"""Who asks an async application: the token, before the ordinary application has looked at it."""

from taskyard.accounts.errors import TokenRefused
from taskyard.accounts.tokens import valid_until
from taskyard.live.asgi import Scope, header


def authenticate_scope(scope: Scope) -> tuple[int, float] | None:
    """Whose valid token a request carries, and when it expires, in seconds of the epoch.

    Whether the user is still there and active, only the ordinary application finds out.
    """
    parts = (header(scope, b"authorization") or "").split(maxsplit=2)
    if len(parts) != 2 or parts[0].lower() != "bearer":
        return None
    try:
        claim, expires_at = valid_until(parts[1])
    except TokenRefused:
        return None
    return claim.user_id, expires_at
