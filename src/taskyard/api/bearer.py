"""Read the owner from a request's token or key in an async application, before Django answers."""

from typing import Any

from django.apps import apps
from django.db import DatabaseError, InterfaceError
from rest_framework.exceptions import AuthenticationFailed

from taskyard.accounts.errors import SsoUnavailable, TokenRefused
from taskyard.live.asgi import Scope, header


def owner_of_token(scope: Scope) -> Any:
    """The user id of a request's valid token or key; None without one, and without our accounts.

    Uses no database: it does not check that the user still exists and is active, and knows only
    keys that this process has seen, and no token of another issuer. The view does all that.
    """
    if not apps.is_installed("taskyard.accounts"):
        return None
    from taskyard.accounts import credentials

    try:
        user = credentials.recall(header(scope, b"authorization"), header(scope, b"on-behalf-of"))
    except (AuthenticationFailed, TokenRefused):
        return None
    return None if user is None else user.claim.user_id


def needs_thread(scope: Scope) -> bool:
    """Whether a thread must look at the token or key of a request, because it may have to wait."""
    if not apps.is_installed("taskyard.accounts"):
        return False
    from taskyard.accounts import credentials

    return credentials.needs_thread(header(scope, b"authorization"))


def is_authenticated(scope: Scope) -> bool:
    """Whether a request has a valid token or key; at most one query, for a key not seen before.

    For a thread: it may ask another issuer for its keys.
    """
    if owner_of_token(scope) is not None:
        return True
    if not apps.is_installed("taskyard.accounts"):
        return False
    from taskyard.accounts import credentials

    try:
        return credentials.authenticate(header(scope, b"authorization")) is not None
    except (AuthenticationFailed, TokenRefused, SsoUnavailable, DatabaseError, InterfaceError):
        return False
