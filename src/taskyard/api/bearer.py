"""Read the owner from a request's token in an async application, before Django answers it."""

from typing import Any

from django.apps import apps
from rest_framework.exceptions import AuthenticationFailed

from taskyard.accounts.errors import TokenRefused
from taskyard.live.asgi import Scope, header


def owner_of_token(scope: Scope) -> Any:
    """The user id of a request's valid token; None without one, and without our accounts.

    It does not check that the user still exists and is active: the view does.
    """
    if not apps.is_installed("taskyard.accounts"):
        return None
    from taskyard.accounts import credentials

    try:
        user = credentials.authenticate(header(scope, b"authorization"))
    except (AuthenticationFailed, TokenRefused):
        return None
    return None if user is None else user.claim.user_id
