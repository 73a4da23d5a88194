"""What API keys may do. A view declares the scope of each method; it refuses keys all others."""

from collections.abc import Iterable, Mapping
from typing import Any, Final, cast

from django.utils.translation import gettext_lazy as _
from rest_framework.exceptions import APIException
from rest_framework.request import Request

from taskyard.accounts.claims import CHALLENGE, KeyClaims
from taskyard.accounts.scopes import Scope
from taskyard.catalog.schema import FieldError, InvalidInput, Path

# For what every key may do.
ANY: Final = "any"
# The scope of each method, such as {"GET": Scope.TASKS_READ}.
Scopes = Mapping[str, Scope | str]


class InsufficientScope(APIException):
    """The API key lacks the scope, or no key may do this (RFC 6750, 3.1)."""

    status_code = 403
    default_code = "insufficient_scope"
    default_detail = _("No API key may do this.")

    def __init__(self, needed: str | None = None) -> None:
        super().__init__(
            _("The API key needs the scope %(scope)s.") % {"scope": needed} if needed else None
        )
        scope = f', scope="{needed}"' if needed else ""
        self.auth_header = f'{CHALLENGE}, error="insufficient_scope"{scope}'


class TaskTypeRefused(InvalidInput):
    """The API key may not submit a task of this type."""


def may(claims: KeyClaims, method: str, scopes: Scopes) -> bool:
    """Whether a key has the scope that a view wants for this method.

    The token of a subject has it only for what reads.
    """
    needed = _needed(claims, method, scopes)
    return needed in claims.scopes or needed == ANY


def refusal(request: Request, scopes: Scopes) -> InsufficientScope:
    """The error for a key that may not do this. Raises TokenRefused if the key was revoked."""
    _prove(request)
    return InsufficientScope(_needed(cast("KeyClaims", request.auth), str(request.method), scopes))


def _needed(claims: KeyClaims, method: str, scopes: Scopes) -> Scope | str | None:
    """The scope that would do; None if no scope would."""
    if claims.is_subject_token and method not in ("GET", "HEAD"):
        return None
    return scopes.get(method) or (scopes.get("GET") if method == "HEAD" else None)


def check_types(request: Request, types: Iterable[tuple[Path, str]]) -> None:
    """Check that the key of a request, if it has one, may submit task types at these places.

    Raises TaskTypeRefused with the places of the others, TokenRefused if the key has been revoked.
    """
    claims = request.auth
    if type(claims) is not KeyClaims or claims.task_types is None:
        return
    message = "The API key may not submit this task type."
    refused = [
        FieldError(place, "task_type_refused", message)
        for place, name in types
        if name not in claims.task_types
    ]
    if refused:
        _prove(request)
        raise TaskTypeRefused(refused)


def _prove(request: Request) -> None:
    """Raise TokenRefused if the key has been revoked: that comes before what it lacks."""
    user: Any = request.user
    getattr(user, "verified", None)
