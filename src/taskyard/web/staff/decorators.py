"""Decorators and helpers of the staff views."""

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, cast

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase
from django.views.decorators.http import require_http_methods

from taskyard.core.roles import Role, role_of
from taskyard.core.types import LARGEST_ID
from taskyard.web.view_helpers import signed_in

Params = ParamSpec("Params")
View = Callable[Concatenate[HttpRequest, Params], HttpResponseBase]


def staff_only(*methods: str, role: Role = Role.OPERATOR) -> Callable[[View[Params]], View[Params]]:
    """Decorate a view for staff of this role: viewers and operators, or operators only.

    Other signed-in users get 404, and a viewer gets 403 from a view for operators.
    """

    def decorate(view: View[Params]) -> View[Params]:
        @wraps(view)
        def wrapper(request: HttpRequest, *args: Params.args, **kwargs: Params.kwargs) -> Any:
            actual = role_of(request.user)
            if actual is Role.OWNER:
                raise Http404
            if actual is Role.VIEWER and role is Role.OPERATOR:
                raise PermissionDenied
            return view(request, *args, **kwargs)

        decorated: Any = require_http_methods(methods)(signed_in(cast("View[Params]", wrapper)))
        decorated.staff_role, decorated.staff_methods = role, methods
        return cast("View[Params]", decorated)

    return decorate


# A page for all staff, a page for operators (also a download), a page with a form on it that
# posts to the same address, and an action.
staff_view = staff_only("GET", "HEAD", role=Role.VIEWER)
operator_view = staff_only("GET", "HEAD")
operator_form = staff_only("GET", "HEAD", "POST")
staff_action = staff_only("POST")


def page_start(request: HttpRequest) -> int | None:
    """The id that a page of a list starts at; None for the first page. Raises Http404."""
    text = request.GET.get("before", "")
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 19) or int(text) > LARGEST_ID:
        raise Http404
    return int(text)
