"""Give users of ours a role."""

from typing import cast

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.translation import gettext as _

from taskyard.accounts import roles
from taskyard.accounts.models import User
from taskyard.accounts.roles import Role
from taskyard.web import notes
from taskyard.web.staff import people
from taskyard.web.staff.decorators import staff_action
from taskyard.web.view_helpers import next_url, user_of


@staff_action
def change(request: HttpRequest, user_id: str) -> HttpResponse:
    user = cast("User | None", people.by_id(user_id))
    chosen = request.POST.get("role", "")
    if user is None or chosen not in list(Role):
        raise Http404
    role, by = Role(chosen), cast("User", user_of(request))
    if roles.change_role(user, role, by=by):
        text = _("The role of %(user)s has been changed.")
        notes.success(request, text % {"user": user.username})
    else:
        text = _(
            "You cannot change the role of %(user)s so. You cannot change your own, and only a "
            "superuser can change that of an operator or make one."
        )
        notes.error(request, text % {"user": user.username})
    return HttpResponseRedirect(next_url(request, default="taskyard_web:staff-users"))
