"""All tasks: search, and one of them."""

import json
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render

from taskyard.catalog.task_type import registry
from taskyard.core import history
from taskyard.core.models import Task
from taskyard.core.states import ACTIVE, Status
from taskyard.web.staff import search
from taskyard.web.staff.decorators import LARGEST_ID, position, to_read

MOST_LINES = 200
# What a page shows of an input or a result.
MOST_CHARACTERS = 20_000


@to_read
def tasks(request: HttpRequest) -> HttpResponse:
    form = search.SearchForm(request.GET or None)
    asked = form.asked() if form.is_valid() else {}
    refused = form.is_bound and not form.is_valid()
    found = None if refused else search.page(asked, before=position(request))
    query = request.GET.copy()
    query.pop("before", None)
    for name in [name for name, value in query.items() if not value]:
        del query[name]
    context = {
        "page": "staff-tasks",
        "form": form,
        "found": found,
        "asked": asked,
        "query": query.urlencode(),
        "begun": "before" in request.GET,
        "types": [each.name for each in registry.all()],
        "can_cancel": asked.get("status") in (None, *ACTIVE),
        "can_retry": asked.get("status") in (None, Status.ERROR, Status.CANCELLED),
    }
    return render(request, "web/staff/tasks.html", context, status=400 if refused else 200)


@to_read
def task(request: HttpRequest, task_id: int) -> HttpResponse:
    known = Task.objects.select_related("owner", "cancel_requested_by")
    found = known.filter(id=task_id).first() if task_id <= LARGEST_ID else None
    if found is None:
        raise Http404
    lines = list(found.log_lines.order_by("-id")[: MOST_LINES + 1])
    context = {
        "page": "staff-tasks",
        "task": found,
        "attempts": history.attempts(found),
        "lines": lines[MOST_LINES - 1 :: -1],
        "more_lines": len(lines) > MOST_LINES,
        "input": _written(found.input_data),
        "result": None if found.result is None else _written(found.result),
        "active": found.status in ACTIVE,
        "retryable": found.status in (Status.ERROR, Status.CANCELLED),
        "retries": list(Task.objects.filter(retry_of=found).order_by("id")[:10]),
    }
    return render(request, "web/staff/task.html", context)


def _written(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, indent=2)
    return text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]} …"
