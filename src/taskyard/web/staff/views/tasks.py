"""All tasks: the search, and the page of a task."""

from typing import Any

from django.http import Http404, HttpRequest, HttpResponse

from taskyard.catalog.task_type import registry
from taskyard.core import history, roles
from taskyard.core.models import Task
from taskyard.core.states import ACTIVE, Status
from taskyard.core.types import LARGEST_ID
from taskyard.web import project
from taskyard.web.schema_form import pretty_json
from taskyard.web.staff import search
from taskyard.web.staff.decorators import page_start, staff_view
from taskyard.web.view_helpers import render, user_of

MOST_LINES = 200
# A longer input or result is cut.
MOST_CHARACTERS = 20_000


@staff_view
def tasks(request: HttpRequest) -> HttpResponse:
    form = search.form_for(user_of(request), request.GET)
    criteria = form.criteria() if form.is_valid() else {}
    is_invalid = form.is_bound and not form.is_valid()
    results = None if is_invalid else search.page(criteria, before=page_start(request))
    query = request.GET.copy()
    query.pop("before", None)
    for name in [name for name, value in query.items() if not value]:
        del query[name]
    context = {
        "page": "staff-tasks",
        "form": form,
        "results": results,
        "criteria": criteria,
        "query": query.urlencode(),
        "is_continued": "before" in request.GET,
        "types": [each.name for each in registry.all()],
        "can_cancel": criteria.get("status") in (None, *ACTIVE),
        "can_retry": criteria.get("status") in (None, Status.ERROR, Status.CANCELLED),
    }
    return render(
        request, "taskyard/web/staff/tasks.html", context, status=400 if is_invalid else 200
    )


@staff_view
def task(request: HttpRequest, task_id: int) -> HttpResponse:
    tasks = Task.objects.select_related("owner", "cancel_requested_by")
    task = tasks.filter(id=task_id).first() if task_id <= LARGEST_ID else None
    if task is None:
        raise Http404
    sees_data = roles.sees_data(user_of(request))
    lines = list(task.log_lines.order_by("-id")[: MOST_LINES + 1]) if sees_data else []
    context = {
        "page": "staff-tasks",
        "task": task,
        "attempts": history.attempts(task),
        "lines": lines[MOST_LINES - 1 :: -1],
        "more_lines": len(lines) > MOST_LINES,
        "input": None if task.input_data is None else _json_text(task.shown_input),
        "result": None if task.result is None else _json_text(task.result),
        "active": task.status in ACTIVE,
        "retryable": task.status in (Status.ERROR, Status.CANCELLED)
        and task.input_data is not None,
        "files": _files(task) if sees_data else [],
        "sees_data": sees_data,
        "retries": list(Task.objects.filter(retry_of=task).order_by("id")[:10]),
    }
    return render(request, "taskyard/web/staff/task.html", context)


def _files(task: Task) -> list[Any]:
    """The files of a task; none if the project has no files."""
    if not project.has_files():
        return []
    from taskyard.files import records

    return records.of_tasks([task])[task.pk]


def _json_text(value: Any) -> str:
    text = pretty_json(value)
    return text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]} …"
