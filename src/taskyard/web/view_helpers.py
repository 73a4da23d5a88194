"""What every page shares: who may see it, what a form sent, how a refusal reads."""

from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, cast

from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import resolve_url
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache

from taskyard.accounts.models import User
from taskyard.catalog.schema import FieldError, InvalidInput, Path
from taskyard.core import messages

Params = ParamSpec("Params")
View = Callable[Concatenate[HttpRequest, Params], HttpResponseBase]


def signed_in(view: View[Params]) -> View[Params]:
    """For somebody who has signed in; others are sent to do so, and back."""

    @never_cache
    @wraps(view)
    def guarded(request: HttpRequest, *args: Params.args, **kwargs: Params.kwargs) -> Any:
        if request.user.is_authenticated:
            return view(request, *args, **kwargs)
        if asks_for_part(request):
            # A part of a page: the page itself says what has happened.
            return HttpResponse(status=401)
        # What was posted cannot be done later by a link.
        asked = request.get_full_path() if request.method in ("GET", "HEAD") else reverse("tasks")
        return redirect_to_login(asked)

    return cast("View[Params]", guarded)


def asks_for_part(request: HttpRequest) -> bool:
    """Whether a script of the page asks, and not the browser for a whole page."""
    return request.headers.get("HX-Request") == "true"


def user_of(request: HttpRequest) -> User:
    return cast("User", request.user)


def next_address(request: HttpRequest, *, otherwise: str = "tasks") -> str:
    """Where to go on: an address of ours that the form names, or the page of this name."""
    address = request.POST.get("next") or request.GET.get("next", "")
    hosts = {request.get_host()}
    if address.startswith("/") and url_has_allowed_host_and_scheme(
        address, hosts, require_https=request.is_secure()
    ):
        return address
    return resolve_url(otherwise)


def posted(request: HttpRequest, *names: str) -> dict[str, str]:
    """These fields of a form; raises InvalidInput for what no database keeps."""
    found = {name: request.POST.get(name, "") for name in names}
    message = "Null characters are not allowed."
    field_errors = [
        FieldError((name,), "null_characters_not_allowed", message)
        for name, value in found.items()
        if "\0" in value
    ]
    if field_errors:
        raise InvalidInput(field_errors)
    return found


def texts_by_field(field_errors: Iterable[FieldError]) -> dict[str, list[str]]:
    """What is wrong, by the first step of its place; "" is the form as a whole."""
    found: dict[str, list[str]] = {}
    for field_error in field_errors:
        found.setdefault(str(field_error.path[0]) if field_error.path else "", []).append(
            messages.of_field_error(field_error)
        )
    return found


def place(path: Path) -> str:
    """A place in an input as people read it: ``numbers, 3``."""
    return ", ".join(str(step + 1) if isinstance(step, int) else step for step in path)
