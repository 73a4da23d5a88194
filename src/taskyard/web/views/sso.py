"""Sign in by single sign-on: to the provider, and back. The protocol is in accounts.oidc."""

from datetime import timedelta
from typing import Any

from django.contrib.auth import login
from django.contrib.auth.decorators import login_not_required
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import resolve_url
from django.urls import reverse
from django.utils.encoding import iri_to_uri
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_safe

from taskyard.accounts import rate_limit
from taskyard.accounts.addresses import client_ip
from taskyard.accounts.errors import (
    SsoDenied,
    SsoInvalid,
    SsoOff,
    SsoSuspended,
    SsoUnavailable,
    Throttled,
)
from taskyard.accounts.oidc import configuration
from taskyard.core import messages
from taskyard.core.errors import Rejected
from taskyard.web.view_helpers import next_url, page_view, render

BACKEND = "django.contrib.auth.backends.ModelBackend"
COOKIE = "taskyard_sso"
STATUS: dict[type[Rejected], int] = {
    SsoDenied: 403,
    SsoSuspended: 403,
    SsoUnavailable: 503,
    Throttled: 429,
}
# Beside the secrets in the cookie, of which a browser keeps 4 KiB.
LONGEST_NEXT = 1000
# Each may be there once: a second one could be believed by one reader and not by another.
PARAMETERS = ("state", "code", "iss", "error")


@login_not_required
@never_cache
@page_view
@require_safe
def begin(request: HttpRequest) -> HttpResponse:
    """Redirect to the provider."""
    _require_sso()
    if request.user.is_authenticated:
        return HttpResponseRedirect(next_url(request))
    from taskyard.accounts.oidc import sign_in

    try:
        begun = sign_in.begin(redirect_uri=_redirect_uri(request), next_url=_next_url(request))
    except SsoOff:
        raise Http404 from None
    except SsoUnavailable as error:
        return _render_failure(request, error)
    response = HttpResponseRedirect(begun.url)
    response.set_cookie(
        COOKIE,
        begun.cookie,
        sign_in.FLOW_SECONDS,
        path=reverse("taskyard_web:sso"),
        secure=request.is_secure(),
        httponly=True,
        # The browser comes back from another site.
        samesite="Lax",
    )
    return response


@login_not_required
@never_cache
@page_view
@require_safe
@sensitive_variables()
def callback(request: HttpRequest) -> HttpResponse:
    """Sign in the person whom the provider has sent back."""
    config = _require_sso()
    from taskyard.accounts.oidc import persons, sign_in

    try:
        rate_limit.count_attempt(client_ip(request))
        if any(len(request.GET.getlist(name)) > 1 for name in PARAMETERS):
            raise SsoInvalid
        ended = sign_in.finish(
            cookie=request.COOKIES.get(COOKIE, ""),
            query=request.GET.dict(),
            redirect_uri=_redirect_uri(request),
        )
        user = persons.sign_in(ended.claims, address=client_ip(request))
    except SsoOff:
        raise Http404 from None
    except Rejected as error:
        response = _render_failure(request, error)
    else:
        login(request, user, backend=BACKEND)
        # A number of seconds would begin again with each change of the session.
        request.session.set_expiry(timedelta(seconds=config.session_seconds))
        response = HttpResponseRedirect(ended.next_url)
    response.delete_cookie(COOKIE, path=reverse("taskyard_web:sso"), samesite="Lax")
    return response


def _require_sso() -> configuration.Configuration:
    try:
        return configuration.required()
    except SsoOff:
        raise Http404 from None


def _redirect_uri(request: HttpRequest) -> str:
    path = reverse("taskyard_web:sso-callback")
    public_url = configuration.required().public_url
    return request.build_absolute_uri(path) if public_url is None else public_url + path


def _next_url(request: HttpRequest) -> str:
    """Where the sign-in leads, in ASCII; not an address that is too long for a cookie."""
    url = iri_to_uri(next_url(request))
    return url if len(url) <= LONGEST_NEXT else resolve_url("taskyard_web:tasks")


def _render_failure(request: HttpRequest, error: Rejected) -> HttpResponse:
    text = messages.of(error.code, error.code, error.params)
    context: dict[str, Any] = {"text": text, "may_try_again": not isinstance(error, SsoSuspended)}
    status = STATUS.get(type(error), 400)
    response = render(request, "taskyard/web/account/sso_failed.html", context, status=status)
    if seconds := getattr(error, "retry_after", None):
        response.headers["Retry-After"] = str(seconds)
    return response
