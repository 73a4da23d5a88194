"""Links to a task: the owner makes one, and the page shows what it shows."""

from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import NoReverseMatch, reverse
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_http_methods, require_safe

from taskyard.accounts import rate_limit
from taskyard.accounts.errors import Throttled
from taskyard.core import messages, sharing
from taskyard.web import project
from taskyard.web.view_helpers import page_view, render, signed_in, user_of
from taskyard.web.views.tasks import own_task

# Seconds, and their names in the form.
LIFETIMES = {
    3600: _("an hour"),
    sharing.USUAL_SECONDS: _("a day"),
    7 * 24 * 3600: _("a week"),
    sharing.MOST_SECONDS: _("30 days"),
}
# The same as the API's answers to a link: no cache, no Referer, no search engine.
HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Robots-Tag": "noindex, nofollow",
}


@signed_in
@require_http_methods(["GET", "HEAD", "POST"])
def share(request: HttpRequest, task_id: int) -> HttpResponse:
    """The form for a link and, after a POST, the link, which is shown this once."""
    task = own_task(request, task_id)
    lifetime, files = request.POST.get("lifetime", ""), "files" in request.POST
    context: dict[str, Any] = {
        "page": "tasks",
        "task": task,
        "lifetimes": [(str(seconds), name) for seconds, name in LIFETIMES.items()],
        "lifetime": lifetime or str(sharing.USUAL_SECONDS),
        "has_files": project.has_files(),
        "files": files,
    }
    if request.method == "POST":
        try:
            rate_limit.count_link(user_of(request).pk)
        except Throttled as error:
            context["error"] = messages.of(error.code, error.code, error.params)
            return render(request, "taskyard/web/tasks/share.html", context, status=429)
        known = {str(seconds): seconds for seconds in LIFETIMES}
        seconds = known.get(lifetime, sharing.USUAL_SECONDS)
        link = sharing.create(task, user_of(request), seconds=seconds, files=files)
        context["link"] = link
        context["url"] = sharing.page_url(request, link.token)
        context["html"] = sharing.snippet(request, link.token)
    return render(request, "taskyard/web/tasks/share.html", context)


@login_not_required
@page_view
@require_safe
def shared(request: HttpRequest) -> HttpResponse:
    """The page of a link, the same for all readers: its script reads the token and the task."""
    try:
        source = f"{reverse('taskyard_api:shared').removesuffix('/')}/"
    except NoReverseMatch:
        raise Http404 from None
    context = {"source": source, "address": request.build_absolute_uri(source)}
    response = render(request, "taskyard/web/shared.html", context)
    for name, value in HEADERS.items():
        response.headers[name] = value
    return response
