"""Sign in, register, sign out, change the password. The rules, as for the API, are in accounts.

Without a password: ``web.views.account_mail``.
"""

from typing import Any, cast

from django.contrib.auth import login, logout, update_session_auth_hash
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.password_validation import password_validators_help_texts
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from taskyard.accounts import passwords, profile, usernames
from taskyard.accounts.addresses import client_ip
from taskyard.accounts.errors import (
    LoginRefused,
    MailBusy,
    MailNotConfigured,
    PasswordLoginOff,
    Throttled,
)
from taskyard.accounts.models import User
from taskyard.accounts.oidc.configuration import passwords_are_on
from taskyard.catalog.schema import InvalidInput
from taskyard.core import messages
from taskyard.core.conf import conf
from taskyard.core.errors import Rejected
from taskyard.web import notes
from taskyard.web.view_helpers import (
    messages_by_field,
    next_url,
    page_view,
    post_fields,
    render,
    signed_in,
    user_of,
)

BACKEND = "django.contrib.auth.backends.ModelBackend"
FORMS = ("GET", "HEAD", "POST")
LONGEST_CODE = 1000
STATUSES: dict[type[Rejected] | type[InvalidInput], int] = {
    Throttled: 429,
    MailNotConfigured: 403,
    MailBusy: 503,
    PasswordLoginOff: 403,
}


@login_not_required
@never_cache
@page_view
@sensitive_post_parameters("password")
@require_http_methods(FORMS)
def sign_in(request: HttpRequest) -> HttpResponse:
    if request.user.is_authenticated:
        return HttpResponseRedirect(next_url(request))
    if request.method != "POST":
        return render_form(request, "sign_in")
    try:
        credentials = post_fields(request, "username", "password")
        _check_lengths(credentials)
        user = passwords.log_in(**credentials, address=client_ip(request))
    except (InvalidInput, Rejected) as error:
        return render_errors(request, "sign_in", error)
    login(request, user, backend=BACKEND)
    return HttpResponseRedirect(next_url(request))


@login_not_required
@never_cache
@page_view
@sensitive_post_parameters("password")
@require_http_methods(FORMS)
def register(request: HttpRequest) -> HttpResponse:
    if request.user.is_authenticated:
        return HttpResponseRedirect(next_url(request))
    if not passwords_are_on():
        return render_errors(request, "register", PasswordLoginOff())
    if conf().REGISTRATION == "closed":
        return render(request, "taskyard/web/account/closed.html", {}, status=403)
    if request.method != "POST":
        return render_form(request, "register")
    try:
        fields = post_fields(request, "username", "password", "invitation")
        user = passwords.register(**fields, address=client_ip(request))
    except (InvalidInput, Rejected) as error:
        return render_errors(request, "register", error)
    login(request, user, backend=BACKEND)
    return HttpResponseRedirect(next_url(request))


@page_view
@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    logout(request)
    return redirect("taskyard_web:sign-in")


@signed_in
@sensitive_post_parameters("old_password", "new_password")
@require_http_methods(FORMS)
def password(request: HttpRequest) -> HttpResponse:
    """Change the password. That ends all tokens and other sessions, which depend on its hash."""
    if not passwords_are_on():
        return render_errors(request, "password", PasswordLoginOff())
    if request.method != "POST":
        return render_form(request, "password")
    user = cast("User", user_of(request))
    try:
        fields = post_fields(request, "old_password", "new_password")
        passwords.change(
            user,
            old=fields["old_password"][: passwords.LONGEST_PASSWORD + 1],
            new=fields["new_password"],
            address=client_ip(request),
        )
    except (InvalidInput, Rejected) as error:
        return render_errors(request, "password", error)
    update_session_auth_hash(request, user)
    notes.success(request, _("Your password has been changed. You are signed out everywhere else."))
    return redirect("taskyard_web:password")


def render_form(request: HttpRequest, name: str, status: int = 200, **context: Any) -> HttpResponse:
    """Render a form of accounts."""
    context.setdefault("errors", {})
    context["registration"] = conf().REGISTRATION
    context["next"] = request.POST.get("next") or request.GET.get("next", "")
    context["rules"] = password_validators_help_texts()
    return render(request, f"taskyard/web/account/{name}.html", context, status=status)


def render_errors(
    request: HttpRequest, name: str, error: InvalidInput | Rejected, **context: Any
) -> HttpResponse:
    """Render the form with the error messages at their fields, without the passwords."""
    if isinstance(error, InvalidInput):
        errors, status = messages_by_field(error.field_errors), 400
    else:
        errors = {"": [messages.of(error.code, error.code, error.params)]}
        status = STATUSES.get(type(error), 400)
    fields = {
        "username": request.POST.get("username", "")[: usernames.LONGEST],
        "email": request.POST.get("email", "")[: profile.LONGEST["email"]],
        # A code from a link is kept while the rest is corrected.
        "code": request.POST.get("code", request.POST.get("invitation", ""))[:LONGEST_CODE],
    }
    response = render_form(request, name, status, errors=errors, **fields, **context)
    if isinstance(error, Throttled | MailBusy):
        response.headers["Retry-After"] = str(error.retry_after)
    return response


def _check_lengths(credentials: dict[str, str]) -> None:
    """Raises LoginRefused for a name or password over the limits: hashing it costs CPU time."""
    if (
        len(credentials["username"]) > usernames.LONGEST
        or len(credentials["password"]) > passwords.LONGEST_PASSWORD
    ):
        raise LoginRefused
