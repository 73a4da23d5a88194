"""Helpers of the views: access, language, posted fields, redirects, error messages."""

from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from typing import Any, Concatenate, ParamSpec, cast

from django.conf import settings
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import BadRequest
from django.db.transaction import non_atomic_requests
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import resolve_url
from django.template import RequestContext
from django.template.loader import get_template
from django.urls import reverse
from django.utils import translation
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_protect

from taskyard.catalog.schema import FieldError, InvalidInput, Path
from taskyard.core import messages
from taskyard.core.languages import shown_language

Params = ParamSpec("Params")
View = Callable[Concatenate[HttpRequest, Params], HttpResponseBase]


def page_view(view: View[Params]) -> View[Params]:
    """Decorate a view: make it independent of the project's middleware and settings.

    The view checks the CSRF token of a form, writes in transactions of its own, and refuses null
    characters. It speaks English if the project's language has no catalogue of ours, so that no
    page mixes languages.
    """

    @wraps(view)
    def wrapper(request: HttpRequest, *args: Params.args, **kwargs: Params.kwargs) -> Any:
        if "%00" in request.META.get("QUERY_STRING", ""):
            # PostgreSQL refuses it in a query.
            raise BadRequest("null characters are not allowed")
        language = shown_language()
        if language == translation.get_language():
            return view(request, *args, **kwargs)
        with translation.override(language):
            response = view(request, *args, **kwargs)
        response.headers["Content-Language"] = language
        return response

    return cast("View[Params]", non_atomic_requests(csrf_protect(wrapper)))


def signed_in(view: View[Params]) -> View[Params]:
    """Decorate a view: redirect to the login page of the project unless a user has signed in."""

    @wraps(view)
    def wrapper(request: HttpRequest, *args: Params.args, **kwargs: Params.kwargs) -> Any:
        if request.user.is_authenticated:
            return view(request, *args, **kwargs)
        if is_htmx_request(request):
            # The script of the open page shows a link to the login page.
            return HttpResponse(status=401)
        # A redirect cannot repeat a POST.
        is_safe = request.method in ("GET", "HEAD")
        return redirect_to_login(
            request.get_full_path() if is_safe else reverse("taskyard_web:tasks")
        )

    return never_cache(page_view(cast("View[Params]", wrapper)))


def render(
    request: HttpRequest, name: str, context: Mapping[str, Any], *, status: int = 200
) -> HttpResponse:
    """Render a template. Ids have no thousands separators, even if the project's numbers do."""
    values = RequestContext(request, use_l10n=False if settings.USE_THOUSAND_SEPARATOR else None)
    values.push(dict(context))
    template: Any = get_template(name)
    return HttpResponse(template.template.render(values), status=status)


def is_htmx_request(request: HttpRequest) -> bool:
    """Whether a script requests a part of the page; our scripts send the header of htmx."""
    return request.headers.get("HX-Request") == "true"


def user_of(request: HttpRequest) -> AbstractBaseUser:
    """The user that has signed in, of any user model."""
    return cast("AbstractBaseUser", request.user)


def next_url(request: HttpRequest, *, default: str = "taskyard_web:tasks") -> str:
    """The URL in the parameter ``next`` if it is on this host, else that of ``default``."""
    url = request.POST.get("next") or request.GET.get("next", "")
    hosts = {request.get_host()}
    if url.startswith("/") and url_has_allowed_host_and_scheme(
        url, hosts, require_https=request.is_secure()
    ):
        return url
    return resolve_url(default)


def post_fields(request: HttpRequest, *names: str) -> dict[str, str]:
    """The named fields of a form. Raises InvalidInput for null characters."""
    fields = {name: request.POST.get(name, "") for name in names}
    message = "Null characters are not allowed."
    field_errors = [
        FieldError((name,), "null_characters_not_allowed", message)
        for name, value in fields.items()
        if "\0" in value
    ]
    if field_errors:
        raise InvalidInput(field_errors)
    return fields


def messages_by_field(field_errors: Iterable[FieldError]) -> dict[str, list[str]]:
    """The error messages by field name; those of the whole form have the name ""."""
    by_field: dict[str, list[str]] = {}
    for field_error in field_errors:
        name = str(field_error.path[0]) if field_error.path else ""
        by_field.setdefault(name, []).append(messages.of_field_error(field_error))
    return by_field


def format_path(path: Path) -> str:
    """A path in an input for people, counted from 1: ``numbers, 3``."""
    return ", ".join(str(step + 1) if isinstance(step, int) else step for step in path)
