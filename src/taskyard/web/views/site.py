"""What is not about tasks: the start page, and the theme."""

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from taskyard.web import project
from taskyard.web.view_helpers import next_url, page_view

YEAR_SECONDS = 365 * 24 * 3600


@page_view
@require_safe
def home(request: HttpRequest) -> HttpResponse:
    if project.has_accounts() and not request.user.is_authenticated:
        return redirect("taskyard_web:sign-in")
    return redirect("taskyard_web:tasks")


@page_view
@require_POST
def theme(request: HttpRequest) -> HttpResponse:
    """Save the theme in a cookie: light, dark, or that of the system."""
    response = HttpResponseRedirect(next_url(request))
    name, path = request.POST.get("theme"), reverse("taskyard_web:home")
    if name in ("light", "dark"):
        response.set_cookie(
            project.THEME_COOKIE, name, YEAR_SECONDS, path=path, samesite="Lax", httponly=True
        )
    else:
        response.delete_cookie(project.THEME_COOKIE, path=path, samesite="Lax")
    return response
