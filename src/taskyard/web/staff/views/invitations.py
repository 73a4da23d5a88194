"""Invitations to register: list, make and revoke them."""

from typing import cast

from django import forms
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from taskyard.accounts import invitations as rules
from taskyard.accounts import mail_links, outbox
from taskyard.accounts.errors import MailBusy
from taskyard.accounts.invitations import Made
from taskyard.accounts.models import Invitation, User
from taskyard.core import roles
from taskyard.core.conf import conf
from taskyard.core.types import LARGEST_ID
from taskyard.web import notes
from taskyard.web.staff.decorators import page_start, staff_action, staff_view
from taskyard.web.view_helpers import next_url, render, user_of

PAGE_SIZE = 50


class InvitationForm(forms.Form):
    """How long the invitation is valid, and where to send it."""

    days = forms.IntegerField(
        label=gettext_lazy("Days"),
        min_value=1,
        max_value=rules.MOST_DAYS,
        initial=rules.DEFAULT_DAYS,
    )
    email = forms.EmailField(label=gettext_lazy("E-mail"), required=False, max_length=254)


@staff_view
def invitations(request: HttpRequest) -> HttpResponse:
    return _list(request, InvitationForm())


@staff_action
def make(request: HttpRequest) -> HttpResponse:
    """Make an invitation and show its link, which no later page can show."""
    form = InvitationForm(request.POST)
    if not form.is_valid():
        return _list(request, form, status=400)
    made = rules.make(**form.cleaned_data, by=cast("User", user_of(request)))
    origin = f"{request.scheme}://{request.get_host()}"
    page = mail_links.page(mail_links.REGISTER, origin=origin)
    if made.invitation.email and mail_links.is_mail_configured():
        _send(request, made)
    return _list(request, InvitationForm(), link=page.link(made.code))


@staff_action
def revoke(request: HttpRequest, invitation_id: int) -> HttpResponse:
    if invitation_id > LARGEST_ID:
        raise Http404
    if rules.revoke(invitation_id, by=cast("User", user_of(request))):
        notes.success(request, _("The invitation has been revoked."))
    elif Invitation.objects.filter(pk=invitation_id).exists():
        notes.error(request, _("The invitation is used or revoked already."))
    else:
        raise Http404
    return HttpResponseRedirect(next_url(request, default="taskyard_web:staff-invitations"))


def _send(request: HttpRequest, made: Made) -> None:
    """Send the link by mail, to an address that only staff of ours can name."""
    mail = rules.mail(made, mail_links.page(mail_links.REGISTER))
    try:
        outbox.put(lambda: [mail])
    except MailBusy:
        notes.error(request, _("Too many mails wait to be sent. Try again soon."))
    else:
        notes.success(request, _("A mail is on its way to %(email)s.") % {"email": mail.to})


def _list(
    request: HttpRequest, form: InvitationForm, *, link: str = "", status: int = 200
) -> HttpResponse:
    before = page_start(request)
    rows = Invitation.objects.select_related("created_by", "used_by").order_by("-id")
    if before is not None:
        rows = rows.filter(id__lt=before)
    page = list(rows[: PAGE_SIZE + 1])
    context = {
        "page": "staff-users",
        "form": form,
        "most_days": rules.MOST_DAYS,
        "link": link,
        # Where the page is read again: that of a POST is no page.
        "go_on_at": reverse("taskyard_web:staff-invitations"),
        "registration": conf().REGISTRATION,
        "sends": mail_links.is_mail_configured(),
        "rows": page[:PAGE_SIZE],
        "sees_data": roles.sees_data(user_of(request)),
        "now": timezone.now(),
        "older": page[PAGE_SIZE - 1].pk if len(page) > PAGE_SIZE else None,
        "is_continued": before is not None,
    }
    return render(request, "taskyard/web/staff/invitations.html", context, status=status)
