"""Who asks an async application: the token, before the ordinary application has looked at it."""

from taskyard.accounts.tokens import LONGEST_TOKEN, UNREADABLE, AccessToken
from taskyard.live.asgi import Scope, header


def holder(scope: Scope) -> tuple[int, float] | None:
    """Whose valid token a request carries, and when it expires, in seconds of the epoch.

    Whether the user is still there and active, only the ordinary application finds out.
    """
    scheme, _, text = (header(scope, b"authorization") or "").strip().partition(" ")
    if scheme.lower() != "bearer" or len(text) > LONGEST_TOKEN:
        return None
    try:
        token = AccessToken(text.strip())  # type: ignore[arg-type]  # as in accounts.tokens
        return int(token["user_id"]), float(token["exp"])
    except UNREADABLE:
        return None
