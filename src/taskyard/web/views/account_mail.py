"""What mails are for: reset a forgotten password, set and confirm an e-mail address."""

from typing import cast

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from taskyard.accounts import email_confirmation, mail_links, password_reset, passwords, profile
from taskyard.accounts.addresses import client_ip
from taskyard.accounts.models import User
from taskyard.catalog.schema import InvalidInput
from taskyard.core.errors import Rejected
from taskyard.web import notes
from taskyard.web.view_helpers import page_view, post_fields, render, signed_in, user_of
from taskyard.web.views.account import FORMS, render_errors, render_form


@login_not_required
@never_cache
@page_view
@require_http_methods(FORMS)
def reset(request: HttpRequest) -> HttpResponse:
    """Ask for a link. The answer is the same for every address."""
    if not mail_links.is_mail_configured():
        return _no_mail(request)
    if request.method != "POST":
        return render_form(request, "reset")
    try:
        fields = post_fields(request, "email")
        password_reset.request(fields["email"], address=client_ip(request))
    except (InvalidInput, Rejected) as error:
        return render_errors(request, "reset", error)
    return render(request, "taskyard/web/account/reset_sent.html", {})


@login_not_required
@never_cache
@page_view
@sensitive_post_parameters("code", "new_password")
@require_http_methods(FORMS)
def new_password(request: HttpRequest) -> HttpResponse:
    """Set a new password with the code of a link."""
    if not mail_links.is_mail_configured():
        return _no_mail(request)
    if request.method != "POST":
        return render_form(request, "new_password")
    try:
        fields = post_fields(request, "code", "new_password")
        password_reset.confirm(fields["code"], fields["new_password"], address=client_ip(request))
    except (InvalidInput, Rejected) as error:
        return render_errors(request, "new_password", error)
    notes.success(request, _("Your password has been changed. Sign in with it."))
    return redirect("taskyard_web:sign-in")


@signed_in
@require_http_methods(FORMS)
def email(request: HttpRequest) -> HttpResponse:
    """Set the own address. If the user can confirm it, a link is sent to it."""
    user = cast("User", user_of(request))
    confirms = email_confirmation.is_possible(user)
    state = {
        "sends": mail_links.is_mail_configured(),
        "confirms": confirms,
        "confirmed": confirms and email_confirmation.is_confirmed(user),
    }
    if request.method != "POST":
        return render_form(request, "email", email=user.email, **state)
    try:
        new = post_fields(request, "email")["email"]
        needed = email_confirmation.is_needed(user, new)
        profile.change(user, address=client_ip(request), email=new)
    except (InvalidInput, Rejected) as error:
        return render_errors(request, "email", error, **state)
    link = _("Saved. Follow the link in the mail to confirm the address.")
    notes.success(request, link if needed else _("Saved."))
    return redirect("taskyard_web:email")


@login_not_required
@never_cache
@page_view
@sensitive_post_parameters("code", "password")
@require_http_methods(FORMS)
def confirm_email(request: HttpRequest) -> HttpResponse:
    """Confirm an address with the code of a link, and the password."""
    if request.method != "POST":
        return render_form(request, "confirm_email")
    try:
        fields = post_fields(request, "code", "password")
        password = fields["password"][: passwords.LONGEST_PASSWORD + 1]
        email_confirmation.confirm(fields["code"], password=password, address=client_ip(request))
    except (InvalidInput, Rejected) as error:
        return render_errors(request, "confirm_email", error)
    notes.success(request, _("Your e-mail address is confirmed."))
    return redirect("taskyard_web:email")


def _no_mail(request: HttpRequest) -> HttpResponse:
    return render(request, "taskyard/web/account/no_mail.html", {}, status=403)
