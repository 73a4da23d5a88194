"""Service accounts, their keys, and their subjects with their limits."""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.db.models import Count, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from pydantic import ValidationError as InvalidKey

from taskyard.accounts import keys, service_accounts
from taskyard.accounts.errors import TooManyKeys
from taskyard.accounts.models import ApiKey, ServiceAccount, Subject
from taskyard.accounts.new_key import LONGEST_NAME, NewKey
from taskyard.accounts.scopes import Scope
from taskyard.core import messages
from taskyard.core.conf import conf
from taskyard.core.models import Quota
from taskyard.core.types import LARGEST_ID
from taskyard.web import notes
from taskyard.web.staff.decorators import page_start, staff_action, staff_view
from taskyard.web.staff.views.users import LARGEST_LIMIT
from taskyard.web.view_helpers import render, user_of

PAGE_SIZE = 50


class KeyForm(forms.Form):
    """What a new key is named, and what it may do."""

    name = forms.CharField(max_length=LONGEST_NAME)
    scopes = forms.MultipleChoiceField(choices=[(scope.value, scope.value) for scope in Scope])


@staff_view
def accounts(request: HttpRequest) -> HttpResponse:
    before = page_start(request)
    found = ServiceAccount.objects.select_related("user").order_by("-pk")
    if before is not None:
        found = found.filter(pk__lt=before)
    page = list(found[: PAGE_SIZE + 1])
    ids = [account.pk for account in page]
    subjects = _counts(Subject.objects.filter(account_id__in=ids), "account_id")
    key_counts = _counts(ApiKey.objects.filter(user_id__in=ids), "user_id")
    context = {
        "page": "staff-service-accounts",
        "rows": [
            {
                "account": account,
                "user": account.user,
                "subjects": subjects.get(account.pk, 0),
                "keys": key_counts.get(account.pk, 0),
            }
            for account in page[:PAGE_SIZE]
        ],
        "older": page[PAGE_SIZE - 1].pk if len(page) > PAGE_SIZE else None,
        "longest_name": service_accounts.LONGEST,
    }
    return render(request, "taskyard/web/staff/service_accounts.html", context)


@staff_action
def make(request: HttpRequest) -> HttpResponse:
    name = request.POST.get("name", "")[: 2 * service_accounts.LONGEST]
    try:
        account = service_accounts.create(name, by_id=user_of(request).pk)
    except ValidationError as error:
        notes.error(request, " ".join(error.messages))
        return redirect("taskyard_web:staff-service-accounts")
    text = _("The service account %(name)s has been made. It needs a key.")
    notes.success(request, text % {"name": account.user.username})
    return redirect("taskyard_web:staff-service-account", account_id=account.pk)


@staff_view
def account(request: HttpRequest, account_id: int) -> HttpResponse:
    return _account_page(request, _account(account_id))


@staff_action
def make_key(request: HttpRequest, account_id: int) -> HttpResponse:
    """Show the new key in the answer itself: it is kept nowhere from which it could be shown."""
    account = _account(account_id)
    form = KeyForm(request.POST)
    if not form.is_valid():
        notes.error(request, _("A key needs a name and at least one scope."))
        return redirect("taskyard_web:staff-service-account", account_id=account.pk)
    try:
        new = NewKey.model_validate(form.cleaned_data)
        _key, text = keys.create(account.user, new, by_id=user_of(request).pk)
    except InvalidKey:
        notes.error(request, str(messages.MESSAGES["invalid_characters"]))
    except TooManyKeys as error:
        notes.error(request, messages.of(error.code, error.code, error.params))
    else:
        return _account_page(request, account, new_key=text)
    return redirect("taskyard_web:staff-service-account", account_id=account.pk)


@staff_action
def revoke_key(request: HttpRequest, account_id: int, key_id: int) -> HttpResponse:
    account = _account(account_id)
    is_id = key_id <= LARGEST_ID
    if not is_id or not keys.revoke(account.user, key_id, by_id=user_of(request).pk):
        raise Http404
    notes.success(request, _("The key has been revoked."))
    return redirect("taskyard_web:staff-service-account", account_id=account.pk)


def _account_page(
    request: HttpRequest, account: ServiceAccount, *, new_key: str = ""
) -> HttpResponse:
    name = request.GET.get("name", "")[:100]
    before = page_start(request)
    page = list(_subjects(account, name=name, before=before)[: PAGE_SIZE + 1])
    quotas = Quota.objects.in_bulk([account.pk, *(subject.pk for subject in page)])
    quota = quotas.get(account.pk) or Quota()
    context = {
        "page": "staff-service-accounts",
        "account": account,
        "user": account.user,
        "quota": quota,
        "limit": conf().ACTIVE_LIMIT if quota.active_limit is None else quota.active_limit,
        "keys": keys.of_user(account.user),
        "scopes": [scope.value for scope in Scope],
        "new_key": new_key,
        "name": name,
        "rows": [_row(subject, quotas.get(subject.pk)) for subject in page[:PAGE_SIZE]],
        "older": page[PAGE_SIZE - 1].pk if len(page) > PAGE_SIZE else None,
        "common_limit": conf().ACTIVE_LIMIT,
        "largest_limit": LARGEST_LIMIT,
    }
    return render(request, "taskyard/web/staff/service_account.html", context)


def _subjects(account: ServiceAccount, *, name: str, before: int | None) -> QuerySet[Subject]:
    subjects = account.subjects.select_related("user").order_by("-pk")
    if name:
        subjects = subjects.filter(name__startswith=name)
    return subjects if before is None else subjects.filter(pk__lt=before)


def _row(subject: Subject, quota: Quota | None) -> dict[str, Any]:
    quota = quota or Quota()
    limit = conf().ACTIVE_LIMIT if quota.active_limit is None else quota.active_limit
    return {"subject": subject, "user": subject.user, "quota": quota, "limit": limit}


def _account(account_id: int) -> ServiceAccount:
    """Raises Http404."""
    found = None
    if account_id <= LARGEST_ID:
        found = ServiceAccount.objects.select_related("user").filter(pk=account_id).first()
    if found is None:
        raise Http404
    return found


def _counts(rows: QuerySet[Any], name: str) -> dict[int, int]:
    """How many rows there are for each value of a column."""
    return dict(rows.order_by().values_list(name).annotate(Count("pk")))
