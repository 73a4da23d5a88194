"""Decorators and helpers of the staff views."""

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, cast

from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_http_methods

from taskyard.core.types import LARGEST_ID
from taskyard.web.view_helpers import signed_in

Params = ParamSpec("Params")
View = Callable[Concatenate[HttpRequest, Params], HttpResponseBase]


# The texts of the audit log by action.
ACTIONS = {
    "pause_queue": _("paused the queue"),
    "resume_queue": _("resumed the queue"),
    "cancel_tasks": _("asked to cancel tasks"),
    "retry_tasks": _("asked to retry tasks"),
    "delete_task": _("deleted the task"),
    "change_limit": _("changed the limit of"),
    "suspend_user": _("suspended"),
    "restore_user": _("restored"),
}


def staff_only(*methods: str) -> Callable[[View[Params]], View[Params]]:
    """Decorate a view for staff. Other signed-in users get 404."""

    def decorate(view: View[Params]) -> View[Params]:
        @wraps(view)
        def wrapper(request: HttpRequest, *args: Params.args, **kwargs: Params.kwargs) -> Any:
            if not getattr(request.user, "is_staff", False):
                raise Http404
            return view(request, *args, **kwargs)

        return require_http_methods(methods)(signed_in(cast("View[Params]", wrapper)))

    return decorate


staff_view = staff_only("GET", "HEAD")
staff_action = staff_only("POST")


def page_start(request: HttpRequest) -> int | None:
    """The id that a page of a list starts at; None for the first page. Raises Http404."""
    text = request.GET.get("before", "")
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 19) or int(text) > LARGEST_ID:
        raise Http404
    return int(text)
