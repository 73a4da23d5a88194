"""Who may see the pages for staff, and how they are shown."""

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, cast

from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_http_methods

from taskyard.web.view_helpers import signed_in, user_of

Params = ParamSpec("Params")
View = Callable[Concatenate[HttpRequest, Params], HttpResponseBase]

LARGEST_ID = 2**63 - 1

# What staff can do, as the audit says it.
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
    """For staff; to anybody else who has signed in, the page is not there."""

    def guarding(view: View[Params]) -> View[Params]:
        @wraps(view)
        def guarded(request: HttpRequest, *args: Params.args, **kwargs: Params.kwargs) -> Any:
            if not user_of(request).is_staff:
                raise Http404
            return view(request, *args, **kwargs)

        return require_http_methods(methods)(signed_in(cast("View[Params]", guarded)))

    return guarding


to_read = staff_only("GET", "HEAD")
to_act = staff_only("POST")


def position(request: HttpRequest, name: str = "before") -> int | None:
    """Where a list goes on; None for its beginning. Raises Http404 for what is no place."""
    given = request.GET.get(name, "")
    if not given:
        return None
    if not (given.isascii() and given.isdigit() and len(given) <= 19) or int(given) > LARGEST_ID:
        raise Http404
    return int(given)
