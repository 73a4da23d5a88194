"""The user's API keys: make one, which is shown once, list and revoke them."""

from datetime import UTC, datetime, timedelta
from typing import Any, cast

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods, require_POST

from taskyard.accounts import keys, rate_limit
from taskyard.accounts.errors import Throttled, TooManyKeys
from taskyard.accounts.models import User
from taskyard.accounts.new_key import LONGEST_NAME, NewKey
from taskyard.accounts.scopes import Scope
from taskyard.catalog.schema import InvalidInput
from taskyard.catalog.task_type import registry
from taskyard.core import messages
from taskyard.core.intake import parse
from taskyard.core.types import LARGEST_ID
from taskyard.web import notes
from taskyard.web.view_helpers import messages_by_field, post_fields, render, signed_in, user_of

SCOPES = {
    Scope.TASKS_SUBMIT: gettext_lazy("submit and retry tasks"),
    Scope.TASKS_READ: gettext_lazy("read tasks and follow them"),
    Scope.TASKS_CANCEL: gettext_lazy("cancel and delete tasks"),
    Scope.FILES: gettext_lazy("upload, read and delete files"),
    Scope.SCHEDULES: gettext_lazy("read and change schedules"),
    Scope.WEBHOOKS: gettext_lazy("read and change webhooks"),
}
DAYS = {
    "30": gettext_lazy("in 30 days"),
    "90": gettext_lazy("in 90 days"),
    "365": gettext_lazy("in a year"),
    "": gettext_lazy("never"),
}

NOTHING_TYPED = {"expires": "90"}


@signed_in
@require_http_methods(("GET", "HEAD", "POST"))
def keys_page(request: HttpRequest) -> HttpResponse:
    """The list and the form. The key is in the response to the form, and nowhere else."""
    if request.method != "POST":
        return _render(request)
    try:
        new = parse(NewKey, _typed(request))
        rate_limit.count_key(_user(request).pk)
        key, text = keys.create(_user(request), new)
    except InvalidInput as error:
        errors = messages_by_field(error.field_errors)
        return _render(request, 400, errors=errors, typed=_shown_again(request))
    except (TooManyKeys, Throttled) as error:
        errors = {"": [messages.of(error.code, error.code, error.params)]}
        status = 409 if isinstance(error, TooManyKeys) else 429
        return _render(request, status, errors=errors, typed=_shown_again(request))
    return _render(request, typed=NOTHING_TYPED, new_key=key, new_text=text)


@signed_in
@require_POST
def revoke(request: HttpRequest, key_id: int) -> HttpResponse:
    if key_id > LARGEST_ID or not keys.revoke(_user(request), key_id):
        raise Http404
    notes.success(request, _("The key has been revoked."))
    return redirect("taskyard_web:keys")


def _user(request: HttpRequest) -> User:
    return cast("User", user_of(request))


def _typed(request: HttpRequest) -> dict[str, Any]:
    """The form as the body of a request to the API. Raises InvalidInput for null characters."""
    fields = post_fields(request, "name", "expires")
    days = fields["expires"]
    expires_at: str | None = days or None
    if days in DAYS and days:
        expires_at = (datetime.now(UTC) + timedelta(days=int(days))).isoformat()
    return {
        "name": fields["name"],
        "scopes": request.POST.getlist("scopes"),
        "task_types": request.POST.getlist("task_types") or None,
        "expires_at": expires_at,
    }


def _shown_again(request: HttpRequest) -> dict[str, Any]:
    """What the user has typed, for the form with its errors."""
    return {
        "name": request.POST.get("name", "")[:LONGEST_NAME],
        "scopes": request.POST.getlist("scopes"),
        "task_types": request.POST.getlist("task_types"),
        "expires": request.POST.get("expires", ""),
    }


def _render(request: HttpRequest, status: int = 200, **context: Any) -> HttpResponse:
    now = datetime.now(UTC)
    shown = {
        "page": "keys",
        "typed": NOTHING_TYPED,
        "errors": {},
        "keys": [
            (
                key,
                f"{keys.MARK}{key.prefix}_…",
                key.expires_at is not None and key.expires_at <= now,
            )
            for key in keys.of_user(_user(request))
        ],
        "scopes": SCOPES.items(),
        "days": DAYS.items(),
        "types": [(each.name, messages.of_type(each, each.label)) for each in registry.public()],
        "longest_name": LONGEST_NAME,
    }
    return render(request, "taskyard/web/account/keys.html", shown | context, status=status)
