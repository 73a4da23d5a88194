"""Suspend and restore users of ours."""

from typing import cast

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.translation import gettext as _

from taskyard.accounts import suspension
from taskyard.accounts.models import User
from taskyard.web import notes
from taskyard.web.staff import people
from taskyard.web.staff.decorators import staff_action
from taskyard.web.view_helpers import next_url, user_of


@staff_action
def suspend(request: HttpRequest, user_id: str) -> HttpResponse:
    user = _user(user_id)
    if suspension.suspend(user, by=cast("User", user_of(request))):
        notes.success(request, _("Suspended: %(user)s.") % {"user": user.username})
    else:
        notes.error(request, _refusal(user))
    return HttpResponseRedirect(next_url(request, default="taskyard_web:staff-users"))


@staff_action
def restore(request: HttpRequest, user_id: str) -> HttpResponse:
    user = _user(user_id)
    if suspension.restore(user, by=cast("User", user_of(request))):
        notes.success(request, _("Restored: %(user)s.") % {"user": user.username})
    else:
        notes.error(request, _refusal(user))
    return HttpResponseRedirect(next_url(request, default="taskyard_web:staff-users"))


def _refusal(user: User) -> str:
    text = _(
        "You cannot suspend or restore %(user)s. You cannot do it to your own account, and only a "
        "superuser can do it to staff."
    )
    return text % {"user": user.username}


def _user(user_id: str) -> User:
    """Raises Http404."""
    user = people.by_id(user_id)
    if user is None:
        raise Http404
    return cast("User", user)
