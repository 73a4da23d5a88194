"""The login of the admin, with the rate limits of the other logins."""

from typing import Any

from django.contrib import admin
from django.contrib.admin.forms import AdminAuthenticationForm
from django.contrib.auth import REDIRECT_FIELD_NAME
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse

from taskyard.accounts import passwords, usernames
from taskyard.accounts.addresses import client_ip
from taskyard.accounts.errors import LoginRefused, Throttled
from taskyard.accounts.oidc.configuration import passwords_are_on
from taskyard.core import messages

RETRY_AFTER = "taskyard.retry_after"


class LoginForm(AdminAuthenticationForm):
    """Logs in as the API does. Tells the view through the request when to try again."""

    request: HttpRequest

    def clean(self) -> dict[str, Any]:
        username, password = (self.cleaned_data.get(name) for name in ("username", "password"))
        if username is not None and password:
            try:
                self.user_cache = self._log_in(username, password)
            except LoginRefused:
                raise self.get_invalid_login_error() from None
            except Throttled as error:
                self.request.META[RETRY_AFTER] = error.retry_after
                text = messages.of(error.code, error.code, error.params)
                raise ValidationError(text, code=error.code) from None
            self.confirm_login_allowed(self.user_cache)
        return self.cleaned_data

    def _log_in(self, username: str, password: str) -> Any:
        if len(username) > usernames.LONGEST or len(password) > passwords.LONGEST_PASSWORD:
            raise LoginRefused
        return passwords.log_in(
            username=username, password=password, address=client_ip(self.request)
        )


class Site(admin.AdminSite):
    login_form = LoginForm

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        if not passwords_are_on():
            return self._to_single_sign_on(request)
        response = super().login(request, extra_context)
        if seconds := request.META.get(RETRY_AFTER):
            response.status_code = 429
            response["Retry-After"] = str(seconds)
        return response

    def _to_single_sign_on(self, request: HttpRequest) -> HttpResponseBase:
        """Raises PermissionDenied for a user who is signed in and is no staff."""
        if request.user.is_authenticated and not self.has_permission(request):
            raise PermissionDenied
        given = request.GET.get(REDIRECT_FIELD_NAME, "")
        return redirect_to_login(given or reverse("admin:index"))

    def password_change(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> Any:
        """Redirect to the page of the web, which counts wrong old passwords."""
        return redirect("taskyard_web:password")
