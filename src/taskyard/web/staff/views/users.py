"""Users: how much they have and may have; changing that, and suspending them."""

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import messages as notes
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils.translation import gettext as _

from taskyard.accounts import suspension
from taskyard.accounts.models import User
from taskyard.accounts.usernames import LONGEST, name_key
from taskyard.core import quotas
from taskyard.core.models import Account
from taskyard.web.staff.decorators import LARGEST_ID, position, to_act, to_read
from taskyard.web.view_helpers import next_address, user_of

PAGE = 50
LARGEST_LIMIT = 2**31 - 1


class LimitForm(forms.Form):
    """Empty: as many as everybody."""

    limit = forms.IntegerField(required=False, min_value=0, max_value=LARGEST_LIMIT)


@to_read
def users(request: HttpRequest) -> HttpResponse:
    name = request.GET.get("name", "")[:LONGEST]
    order = "active" if request.GET.get("order") == "active" else "new"
    before = position(request)
    found = User.objects.select_related("account")
    if name:
        found = found.filter(username_key__startswith=name_key(name))
    if before is not None:
        found = found.filter(id__lt=before)
    if order == "active":
        # Those who have most now. Its end is no place to go on from: numbers move.
        found = found.filter(account__active__gt=0).order_by("-account__active", "id")
    else:
        found = found.order_by("-id")
    page = list(found[: PAGE + 1])
    context = {
        "page": "staff-users",
        "name": name,
        "order": order,
        "rows": [_row(user) for user in page[:PAGE]],
        "older": page[PAGE - 1].pk if len(page) > PAGE and order == "new" else None,
        "common_limit": settings.TASKYARD_ACTIVE_LIMIT,
        "largest_limit": LARGEST_LIMIT,
    }
    return render(request, "web/staff/users.html", context)


@to_act
def limit(request: HttpRequest, user_id: int) -> HttpResponse:
    user = _user(user_id)
    form = LimitForm(request.POST)
    if not form.is_valid():
        text = form["limit"].errors.as_text().removeprefix("* ")
        notes.error(request, f"{user.username}: {text}")
        return HttpResponseRedirect(next_address(request, otherwise="staff-users"))
    quotas.change_limit(user.pk, form.cleaned_data["limit"], by_id=user_of(request).pk)
    notes.success(request, _("The limit of %(user)s has been changed.") % {"user": user.username})
    return HttpResponseRedirect(next_address(request, otherwise="staff-users"))


@to_act
def suspend(request: HttpRequest, user_id: int) -> HttpResponse:
    user = _user(user_id)
    if suspension.suspend(user, by=user_of(request)):
        notes.success(request, _("Suspended: %(user)s.") % {"user": user.username})
    else:
        notes.error(request, _refusal(user))
    return HttpResponseRedirect(next_address(request, otherwise="staff-users"))


@to_act
def restore(request: HttpRequest, user_id: int) -> HttpResponse:
    user = _user(user_id)
    if suspension.restore(user, by=user_of(request)):
        notes.success(request, _("Restored: %(user)s.") % {"user": user.username})
    else:
        notes.error(request, _refusal(user))
    return HttpResponseRedirect(next_address(request, otherwise="staff-users"))


def _row(user: User) -> dict[str, Any]:
    # Who was made by a command and has submitted nothing has no account yet.
    account = getattr(user, "account", None) or Account()
    common = account.active_limit is None
    return {
        "user": user,
        "account": account,
        "limit": settings.TASKYARD_ACTIVE_LIMIT if common else account.active_limit,
    }


def _refusal(user: User) -> str:
    text = _(
        "You cannot suspend or restore %(user)s: your own account never, staff only as a superuser."
    )
    return text % {"user": user.username}


def _user(user_id: int) -> User:
    """Raises Http404."""
    found = User.objects.filter(id=user_id).first() if user_id <= LARGEST_ID else None
    if found is None:
        raise Http404
    return found
