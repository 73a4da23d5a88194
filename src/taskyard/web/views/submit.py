"""Submit a task: the list of task types, the form, and the API request that it stands for."""

import re
import secrets
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import NoReverseMatch, reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from taskyard.catalog.schema import InvalidInput
from taskyard.catalog.task_type import TaskType, UnknownTaskType, registry
from taskyard.core import encryption, idempotency, lifecycle, messages
from taskyard.core.errors import Rejected
from taskyard.core.models import Task
from taskyard.core.states import Priority
from taskyard.core.strict_json import dumps
from taskyard.web import project, widgets
from taskyard.web.draft import Draft, as_curl, as_python
from taskyard.web.view_helpers import render, signed_in, user_of

if TYPE_CHECKING:  # a project may have no files
    from taskyard.web.file_choice import OwnFiles

# Formatting a longer request takes too long.
MAX_EXAMPLE_LENGTH = 16 * 1024
# The idempotency key of each rendered form.
KEY = re.compile(r"[0-9a-f]{32}")


@signed_in
@require_safe
def choose(request: HttpRequest) -> HttpResponse:
    return render(
        request,
        "taskyard/web/submit/choose.html",
        {"page": "new-task", "task_types": [describe_type(each) for each in registry.public()]},
    )


@signed_in
@require_http_methods(["GET", "HEAD", "POST"])
def new_task(request: HttpRequest, name: str) -> HttpResponse:
    task_type = _get_type(name)
    if request.method != "POST":
        return _render_form(request, _initial_draft(request, task_type))
    draft = Draft.from_post(task_type, request.POST)
    action = request.POST.get("do", "submit")
    if errors := _keep_uploads(request, draft):
        return _render_form(request, draft, errors=errors, status=400)
    try:
        if action.startswith(("add ", "remove ", "lines ", "rows ")):
            draft.change_rows(action)
            return _render_form(request, draft)
        if action in ("as-json", "as-form"):
            draft.switch_mode(to_json=action == "as-json")
            return _render_form(request, draft)
        if action == "preview":
            return _render_form(request, draft, body=draft.body())
        task_id = _submit_once(request, draft)
    except InvalidInput as error:
        return _render_form(request, draft, errors=draft.errors_by_field(error), status=400)
    except Rejected as error:
        text = messages.of(error.code, error.code, error.params)
        return _render_form(request, draft, errors={"": [text]}, status=400)
    return redirect("taskyard_web:task", task_id)


def _keep_uploads(request: HttpRequest, draft: Draft) -> dict[str, list[str]]:
    """Keep the files that the form itself has sent, as browsers without scripts do.

    Returns the errors by field name.
    """
    if not request.FILES or not project.has_files():
        return {}
    from taskyard.web import form_uploads

    return form_uploads.keep(user_of(request).pk, draft, request.FILES)


def _submit_once(request: HttpRequest, draft: Draft) -> int:
    """Submit the task. If the browser sends the form twice, it still creates one task."""
    user_id, new = user_of(request).pk, draft.new_task()
    key = request.POST.get("key", "")
    if not KEY.fullmatch(key):
        return lifecycle.submit(user_id, new).pk
    fingerprint = idempotency.fingerprint(
        "page", draft.body(), has_secrets=encryption.are_in([new])
    )
    full_key = f"page:{key}:{fingerprint}"
    (task_id,), _ = idempotency.submit_once(user_id, full_key, fingerprint, [new])
    return task_id


@signed_in
@require_POST
def preview(request: HttpRequest, name: str) -> HttpResponse:
    """The API request that the form stands for, as a part of the page."""
    draft = Draft.from_post(_get_type(name), request.POST)
    try:
        context = _request_examples(request, draft.body())
    except InvalidInput:
        context = {}
    return render(request, "taskyard/web/submit/preview.html", context)


def describe_type(task_type: TaskType) -> dict[str, str]:
    """A task type for the templates, translated."""
    return {
        "name": task_type.name,
        "label": messages.of_type(task_type, task_type.label),
        "description": messages.of_type(task_type, task_type.description),
        "queue": task_type.queue,
    }


def _initial_draft(request: HttpRequest, task_type: TaskType) -> Draft:
    """A blank form, or one filled in from the user's task in the parameter ``from``."""
    task_id = request.GET.get("from", "")
    if task_id.isascii() and task_id.isdecimal() and len(task_id) < 19:
        task = Task.objects.get_owned(user_of(request).pk, int(task_id))
        if task is not None and task.task_type == task_type.name:
            return Draft.from_task(task_type, task)
    return Draft.blank(task_type)


def _render_form(
    request: HttpRequest,
    draft: Draft,
    *,
    errors: Mapping[str, list[str]] | None = None,
    body: dict[str, Any] | None = None,
    status: int = 200,
) -> HttpResponse:
    errors = errors or {}
    own_files = _own_files(request, draft)
    context: dict[str, Any] = {
        "page": "new-task",
        "type": describe_type(draft.task_type),
        "draft": draft,
        "key": request.POST.get("key") or secrets.token_hex(16),
        "rows": widgets.build_widgets(draft, errors, own_files),
        "takes_files": own_files is not None,
        "errors": errors,
        "typed": draft.typed,
        "run_at_type": widgets.run_at_type(draft),
        "priorities": [(each.name.lower(), each.label) for each in reversed(Priority)],
        "max_attempts": draft.task_type.max_attempts,
        "timeout": draft.task_type.timeout,
        "has_api": _create_path() is not None,
    }
    if body is None:
        try:
            body = draft.body()
        except InvalidInput:
            body = None
    if body is not None:
        context |= _request_examples(request, body)
    return render(request, "taskyard/web/submit/form.html", context, status=status)


def _own_files(request: HttpRequest, draft: Draft) -> "OwnFiles | None":
    """The user's files for the form; None if it takes none."""
    fields = draft.file_fields()
    if (not fields and not draft.task_type.takes_files) or not project.has_files():
        return None
    from taskyard.web import file_choice

    texts = [draft.typed.get(field.name, "") for field in fields]
    return file_choice.of_form(user_of(request).pk, texts)


def _request_examples(request: HttpRequest, body: dict[str, Any]) -> dict[str, Any]:
    path = _create_path()
    if path is None:
        return {}
    if len(dumps(body)) > MAX_EXAMPLE_LENGTH:
        return {"too_long": True}
    body = {**body, "input_data": encryption.shown(body["task_type"], body["input_data"])}
    url, bearer = request.build_absolute_uri(path), project.has_accounts()
    return {
        "curl": as_curl(url, body, bearer=bearer),
        "python": as_python(url, body, bearer=bearer),
    }


def _create_path() -> str | None:
    """The path of the API that creates a task; None if the project has no API of ours."""
    with suppress(NoReverseMatch):
        # The URL pattern has an optional slash, which the documentation shows.
        return reverse("taskyard_api:create") + "/"
    return None


def _get_type(name: str) -> TaskType:
    try:
        return registry.get_public(name)
    except UnknownTaskType:
        raise Http404 from None
