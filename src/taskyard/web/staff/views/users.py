"""Users: their tasks and limits; change a limit, suspend and restore a user."""

from typing import Any

from django import forms
from django.contrib import messages as notes
from django.db.models import OuterRef, Subquery
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils.translation import gettext as _

from taskyard.accounts import suspension
from taskyard.accounts.models import User
from taskyard.accounts.usernames import LONGEST, name_key
from taskyard.core import quotas
from taskyard.core.conf import conf
from taskyard.core.models import Quota
from taskyard.core.types import LARGEST_ID
from taskyard.web.staff.decorators import page_start, staff_action, staff_view
from taskyard.web.view_helpers import next_url, user_of

PAGE_SIZE = 50
LARGEST_LIMIT = 2**31 - 1


class LimitForm(forms.Form):
    """The limit of active tasks; empty for the common limit."""

    limit = forms.IntegerField(required=False, min_value=0, max_value=LARGEST_LIMIT)


@staff_view
def users(request: HttpRequest) -> HttpResponse:
    name = request.GET.get("name", "")[:LONGEST]
    order = "active" if request.GET.get("order") == "active" else "new"
    before = page_start(request)
    matching = User.objects.all()
    if name:
        matching = matching.filter(username_key__startswith=name_key(name))
    if before is not None:
        matching = matching.filter(id__lt=before)
    if order == "active":
        # This order has only one page, since the numbers change between requests.
        busy = Quota.objects.filter(active__gt=0)
        matching = matching.filter(id__in=busy.values("user_id")).order_by(
            Subquery(busy.filter(user_id=OuterRef("id")).values("active")).desc(), "id"
        )
    else:
        matching = matching.order_by("-id")
    page = list(matching[: PAGE_SIZE + 1])
    quota_of = Quota.objects.in_bulk([user.pk for user in page])
    context = {
        "page": "staff-users",
        "name": name,
        "order": order,
        "rows": [_row(user, quota_of.get(user.pk)) for user in page[:PAGE_SIZE]],
        "older": page[PAGE_SIZE - 1].pk if len(page) > PAGE_SIZE and order == "new" else None,
        "common_limit": conf().ACTIVE_LIMIT,
        "largest_limit": LARGEST_LIMIT,
    }
    return render(request, "web/staff/users.html", context)


@staff_action
def limit(request: HttpRequest, user_id: int) -> HttpResponse:
    user = _user(user_id)
    form = LimitForm(request.POST)
    if not form.is_valid():
        text = form["limit"].errors.as_text().removeprefix("* ")
        notes.error(request, f"{user.username}: {text}")
        return HttpResponseRedirect(next_url(request, default="staff-users"))
    quotas.change_limit(user.pk, form.cleaned_data["limit"], by_id=user_of(request).pk)
    notes.success(request, _("The limit of %(user)s has been changed.") % {"user": user.username})
    return HttpResponseRedirect(next_url(request, default="staff-users"))


@staff_action
def suspend(request: HttpRequest, user_id: int) -> HttpResponse:
    user = _user(user_id)
    if suspension.suspend(user, by=user_of(request)):
        notes.success(request, _("Suspended: %(user)s.") % {"user": user.username})
    else:
        notes.error(request, _refusal(user))
    return HttpResponseRedirect(next_url(request, default="staff-users"))


@staff_action
def restore(request: HttpRequest, user_id: int) -> HttpResponse:
    user = _user(user_id)
    if suspension.restore(user, by=user_of(request)):
        notes.success(request, _("Restored: %(user)s.") % {"user": user.username})
    else:
        notes.error(request, _refusal(user))
    return HttpResponseRedirect(next_url(request, default="staff-users"))


def _row(user: User, quota: Quota | None) -> dict[str, Any]:
    # A user has no quota row before the first submit.
    quota = quota or Quota()
    common = quota.active_limit is None
    return {
        "user": user,
        "quota": quota,
        "limit": conf().ACTIVE_LIMIT if common else quota.active_limit,
    }


def _refusal(user: User) -> str:
    text = _(
        "You cannot suspend or restore %(user)s. You cannot do it to your own account, and only a "
        "superuser can do it to staff."
    )
    return text % {"user": user.username}


def _user(user_id: int) -> User:
    """Raises Http404."""
    user = User.objects.filter(id=user_id).first() if user_id <= LARGEST_ID else None
    if user is None:
        raise Http404
    return user
