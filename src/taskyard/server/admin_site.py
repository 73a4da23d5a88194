"""The login of the admin, with the rate limits of the other logins."""

from typing import Any

from django.contrib import admin
from django.contrib.admin.forms import AdminAuthenticationForm
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.shortcuts import redirect

from taskyard.accounts import passwords, usernames
from taskyard.accounts.addresses import client_ip
from taskyard.accounts.errors import LoginRefused, Throttled
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
        response = super().login(request, extra_context)
        if seconds := request.META.get(RETRY_AFTER):
            response.status_code = 429
            response["Retry-After"] = str(seconds)
        return response

    def password_change(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> Any:
        """Redirect to the page of the web, which counts wrong old passwords."""
        return redirect("taskyard_web:password")
