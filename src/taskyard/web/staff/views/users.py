"""Users: their tasks, limits and weights; change these."""

from typing import Any

from django import forms
from django.db.models import OuterRef, Subquery
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.translation import gettext as _

from taskyard.core import quotas, roles
from taskyard.core.conf import conf
from taskyard.core.models import Quota
from taskyard.core.types import UserId
from taskyard.web import notes, project
from taskyard.web.staff import audit_texts, people
from taskyard.web.staff.decorators import page_start, staff_action, staff_view
from taskyard.web.view_helpers import next_url, render, user_of

PAGE_SIZE = 50
LARGEST_LIMIT = 2**31 - 1
LEAST_WEIGHT, LARGEST_WEIGHT = 0.01, 100


class LimitForm(forms.Form):
    """The limit of active tasks, empty for the common one; the weight, empty to leave it."""

    limit = forms.IntegerField(required=False, min_value=0, max_value=LARGEST_LIMIT)
    weight = forms.FloatField(required=False, min_value=LEAST_WEIGHT, max_value=LARGEST_WEIGHT)


@staff_view
def users(request: HttpRequest) -> HttpResponse:
    name = request.GET.get("name", "")[: people.LONGEST_NAME]
    order = "active" if request.GET.get("order") == "active" else "new"
    start = request.GET.get("before", "")
    if project.has_accounts():
        start = str(page_start(request) or "")
    matching = people.beginning_with(name)
    if order == "active":
        # This order has only one page, since the numbers change between requests.
        busy = Quota.objects.filter(active__gt=0)
        matching = matching.filter(pk__in=busy.values("user_id")).order_by(
            Subquery(busy.filter(user_id=OuterRef("pk")).values("active")).desc(), "pk"
        )
    else:
        matching = people.in_order(matching, start=start)
    page = list(matching[: PAGE_SIZE + 1])
    quota_of = Quota.objects.in_bulk([user.pk for user in page])
    file_bytes = _file_bytes([user.pk for user in page])
    role_of = roles.roles_of(page)
    is_last = len(page) <= PAGE_SIZE or order == "active"
    context = {
        "page": "staff-users",
        "name": name,
        "order": order,
        "rows": [
            _row(user, quota_of.get(user.pk))
            | {
                "file_bytes": file_bytes.get(user.pk),
                "role": role_of[user.pk],
                "roles": _roles_to_give(request, user, role_of[user.pk]),
            }
            for user in page[:PAGE_SIZE]
        ],
        "older": None if is_last else people.place_of(page[PAGE_SIZE - 1]),
        "has_accounts": project.has_accounts(),
        "invites": project.has_accounts() and conf().REGISTRATION == "invite",
        "has_files": project.has_files(),
        "common_limit": conf().ACTIVE_LIMIT,
        "largest_limit": LARGEST_LIMIT,
        "weights": {"least": LEAST_WEIGHT, "largest": LARGEST_WEIGHT},
    }
    return render(request, "taskyard/web/staff/users.html", context)


@staff_action
def limit(request: HttpRequest, user_id: str) -> HttpResponse:
    user = people.by_id(user_id)
    if user is None:
        raise Http404
    form = LimitForm(request.POST)
    if not form.is_valid():
        (texts, *_others) = form.errors.values()
        text = texts.as_text().removeprefix("* ")
        notes.error(request, f"{user.get_username()}: {text}")
        return HttpResponseRedirect(next_url(request, default="taskyard_web:staff-users"))
    by_id = user_of(request).pk
    quotas.change_limit(user.pk, form.cleaned_data["limit"], by_id=by_id)
    if weight := form.cleaned_data["weight"]:
        quotas.change_weight(user.pk, weight, by_id=by_id)
    text = _("The limit and the weight of %(user)s are saved.") % {"user": user.get_username()}
    notes.success(request, text)
    return HttpResponseRedirect(next_url(request, default="taskyard_web:staff-users"))


def _row(user: Any, quota: Quota | None) -> dict[str, Any]:
    # A user has no quota row before the first submit.
    quota = quota or Quota()
    common = quota.active_limit is None
    return {
        "user": user,
        "quota": quota,
        "limit": conf().ACTIVE_LIMIT if common else quota.active_limit,
    }


def _roles_to_give(request: HttpRequest, user: Any, current: roles.Role) -> list[tuple[str, Any]]:
    """The roles with their names that the user may be given; none if users are not ours."""
    if not project.has_accounts():
        return []
    from taskyard.accounts.roles import assignable

    by: Any = user_of(request)
    return [(str(role), audit_texts.ROLES[role]) for role in assignable(user, current, by=by)]


def _file_bytes(user_ids: list[UserId]) -> dict[UserId, int]:
    """The bytes of these users' files; empty if the project has no files."""
    if not project.has_files():
        return {}
    from taskyard.files import stats

    return stats.bytes_of(user_ids)
