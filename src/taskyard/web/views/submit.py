"""A new task: what there is to run, its form, and the request that the form stands for."""

import re
import secrets
from collections.abc import Mapping
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from taskyard.catalog.schema import InvalidInput
from taskyard.catalog.task_type import TaskType, UnknownTaskType, registry
from taskyard.core import idempotency, lifecycle, messages
from taskyard.core.errors import Rejected
from taskyard.core.models import Task
from taskyard.core.states import Priority
from taskyard.core.strict_json import dumps
from taskyard.web import widgets
from taskyard.web.draft import Draft, as_curl, as_python
from taskyard.web.view_helpers import signed_in, user_of

# A longer request is not for reading, and laying it out takes time.
LONGEST_SHOWN = 16 * 1024


# Made with each form that is drawn.
KEY = re.compile(r"[0-9a-f]{32}")


@signed_in
@require_safe
def choose(request: HttpRequest) -> HttpResponse:
    return render(
        request,
        "web/submit/choose.html",
        {"page": "new-task", "task_types": [described(each) for each in registry.all()]},
    )


@signed_in
@require_http_methods(["GET", "HEAD", "POST"])
def new_task(request: HttpRequest, name: str) -> HttpResponse:
    task_type = _known(name)
    if request.method != "POST":
        return _form(request, _first(request, task_type))
    draft = Draft.sent(task_type, request.POST)
    action = request.POST.get("do", "submit")
    try:
        if action.startswith(("add ", "remove ", "lines ", "rows ")):
            draft.change_rows(action)
            return _form(request, draft)
        if action in ("as-json", "as-form"):
            draft.switch(to_json=action == "as-json")
            return _form(request, draft)
        if action == "preview":
            return _form(request, draft, body=draft.body())
        task_id = _submit_once(request, draft)
    except InvalidInput as error:
        return _form(request, draft, errors=draft.errors(error), status=400)
    except Rejected as error:
        text = messages.of(error.code, error.code, error.params)
        return _form(request, draft, errors={"": [text]}, status=400)
    return redirect("task", task_id)


def _submit_once(request: HttpRequest, draft: Draft) -> int:
    """The same form sent twice, by a double click or after an answer that was lost, is one task."""
    user_id, new = user_of(request).pk, draft.new()
    key = request.POST.get("key", "")
    if not KEY.fullmatch(key):
        return lifecycle.submit(user_id, new).pk
    said = idempotency.fingerprint("page", draft.body())
    (task_id,), _ = idempotency.submit_once(user_id, f"page:{key}:{said}", said, [new])
    return task_id


@signed_in
@require_POST
def preview(request: HttpRequest, name: str) -> HttpResponse:
    """The request that the form stands for, as part of a page."""
    draft = Draft.sent(_known(name), request.POST)
    try:
        context = _requests(request, draft.body())
    except InvalidInput:
        context = {}
    return render(request, "web/submit/preview.html", context)


def described(task_type: TaskType) -> dict[str, str]:
    """A type in the language of the request."""
    return {
        "name": task_type.name,
        "label": messages.of_type(task_type, task_type.label),
        "description": messages.of_type(task_type, task_type.description),
        "queue": task_type.queue,
    }


def _first(request: HttpRequest, task_type: TaskType) -> Draft:
    """Blank, or filled in as the own task was that the address names."""
    again = request.GET.get("from", "")
    if again.isascii() and again.isdecimal() and len(again) < 19:
        task = Task.objects.get_owned(user_of(request).pk, int(again))
        if task is not None and task.task_type == task_type.name:
            return Draft.of_task(task_type, task)
    return Draft.blank(task_type)


def _form(
    request: HttpRequest,
    draft: Draft,
    *,
    errors: Mapping[str, list[str]] | None = None,
    body: dict[str, Any] | None = None,
    status: int = 200,
) -> HttpResponse:
    errors = errors or {}
    context: dict[str, Any] = {
        "page": "new-task",
        "type": described(draft.task_type),
        "draft": draft,
        "key": request.POST.get("key") or secrets.token_hex(16),
        "rows": widgets.rows(draft, errors),
        "errors": errors,
        "typed": draft.typed,
        "run_at_type": widgets.run_at_type(draft),
        "priorities": [(each.name.lower(), each.label) for each in reversed(Priority)],
        "max_attempts": draft.task_type.max_attempts,
        "timeout": draft.task_type.timeout,
    }
    if body is None:
        try:
            body = draft.body()
        except InvalidInput:
            body = None
    if body is not None:
        context |= _requests(request, body)
    return render(request, "web/submit/form.html", context, status=status)


def _requests(request: HttpRequest, body: dict[str, Any]) -> dict[str, Any]:
    if len(dumps(body)) > LONGEST_SHOWN:
        return {"too_long": True}
    # The address as people read it: with the slash that the pattern leaves out.
    url = request.build_absolute_uri(reverse("api:create")) + "/"
    return {"curl": as_curl(url, body), "python": as_python(url, body)}


def _known(name: str) -> TaskType:
    try:
        return registry.get(name)
    except UnknownTaskType:
        raise Http404 from None
