"""Coming in, going out, and a new password. The rules are those of the API: accounts knows them."""

from typing import Any

from django.conf import settings
from django.contrib import messages as notes
from django.contrib.auth import login, logout, update_session_auth_hash
from django.contrib.auth.password_validation import password_validators_help_texts
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from taskyard.accounts import passwords, usernames
from taskyard.accounts.addresses import client_ip
from taskyard.accounts.errors import LoginRefused, Throttled
from taskyard.catalog.schema import InvalidInput
from taskyard.core import messages
from taskyard.core.errors import Rejected
from taskyard.web.view_helpers import next_address, posted, signed_in, texts_by_field, user_of

BACKEND = "django.contrib.auth.backends.ModelBackend"
FORMS = ("GET", "HEAD", "POST")


@never_cache
@sensitive_post_parameters("password")
@require_http_methods(FORMS)
def sign_in(request: HttpRequest) -> HttpResponse:
    if request.user.is_authenticated:
        return HttpResponseRedirect(next_address(request))
    if request.method != "POST":
        return _form(request, "sign_in")
    try:
        given = posted(request, "username", "password")
        _refuse_longer_than_any(given)
        user = passwords.log_in(**given, address=client_ip(request))
    except (InvalidInput, Rejected) as error:
        return _refused(request, "sign_in", error)
    login(request, user, backend=BACKEND)
    return HttpResponseRedirect(next_address(request))


@never_cache
@sensitive_post_parameters("password")
@require_http_methods(FORMS)
def register(request: HttpRequest) -> HttpResponse:
    if request.user.is_authenticated:
        return HttpResponseRedirect(next_address(request))
    if request.method != "POST":
        return _form(request, "register")
    try:
        given = posted(request, "username", "password")
        user = passwords.register(**given, address=client_ip(request))
    except (InvalidInput, Rejected) as error:
        return _refused(request, "register", error)
    login(request, user, backend=BACKEND)
    return HttpResponseRedirect(next_address(request))


@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    logout(request)
    return redirect("sign-in")


@signed_in
@sensitive_post_parameters("old_password", "new_password")
@require_http_methods(FORMS)
def password(request: HttpRequest) -> HttpResponse:
    """Ends every token and every other session: both carry a trace of the old password."""
    if request.method != "POST":
        return _form(request, "password")
    user = user_of(request)
    try:
        given = posted(request, "old_password", "new_password")
        passwords.change(
            user,
            old=given["old_password"][: passwords.LONGEST_PASSWORD + 1],
            new=given["new_password"],
            address=client_ip(request),
        )
    except (InvalidInput, Rejected) as error:
        return _refused(request, "password", error)
    update_session_auth_hash(request, user)
    notes.success(request, _("Your password has been changed. Everywhere else you are signed out."))
    return redirect("password")


@require_POST
def theme(request: HttpRequest) -> HttpResponse:
    """Light, dark, or as the system has it; kept in a cookie."""
    response = HttpResponseRedirect(next_address(request))
    chosen, path = request.POST.get("theme"), settings.SESSION_COOKIE_PATH
    if chosen in ("light", "dark"):
        year = 365 * 24 * 3600
        response.set_cookie("theme", chosen, year, path=path, samesite="Lax", httponly=True)
    else:
        response.delete_cookie("theme", path=path, samesite="Lax")
    return response


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    return redirect("tasks" if request.user.is_authenticated else "sign-in")


def _form(request: HttpRequest, name: str, status: int = 200, **context: Any) -> HttpResponse:
    context["next"] = request.POST.get("next") or request.GET.get("next", "")
    context["rules"] = password_validators_help_texts()
    return render(request, f"web/account/{name}.html", context, status=status)


def _refused(request: HttpRequest, name: str, error: InvalidInput | Rejected) -> HttpResponse:
    """The form again, each text where it belongs, without the passwords."""
    if isinstance(error, InvalidInput):
        errors, status = texts_by_field(error.field_errors), 400
    else:
        errors = {"": [messages.of(error.code, error.code, error.params)]}
        status = 429 if isinstance(error, Throttled) else 400
    username = request.POST.get("username", "")[: usernames.LONGEST]
    response = _form(request, name, status, errors=errors, username=username)
    if isinstance(error, Throttled):
        response.headers["Retry-After"] = str(error.retry_after)
    return response


def _refuse_longer_than_any(given: dict[str, str]) -> None:
    """Hashing takes longer the longer the password is, and nobody has one so long."""
    if (
        len(given["username"]) > usernames.LONGEST
        or len(given["password"]) > passwords.LONGEST_PASSWORD
    ):
        raise LoginRefused
