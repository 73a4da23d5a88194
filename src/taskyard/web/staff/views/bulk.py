"""Cancel or retry all tasks that match a search, after a confirmation with their number."""

from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.utils.translation import gettext as _

from taskyard.core import audit
from taskyard.core import bulk as core_bulk
from taskyard.core.querysets import TaskQuerySet
from taskyard.web import notes
from taskyard.web.staff import search
from taskyard.web.staff.decorators import operator_form
from taskyard.web.view_helpers import render, user_of

# The confirmation counts up to this many tasks; the action itself has no such limit.
MOST_COUNTED = 100_000
# Time limit of one request. If tasks are left, the page asks for confirmation again.
SECONDS = 2.5


@operator_form
def cancel(request: HttpRequest) -> HttpResponse:
    return _bulk(request, "cancel")


@operator_form
def retry(request: HttpRequest) -> HttpResponse:
    return _bulk(request, "retry")


def _bulk(request: HttpRequest, verb: str) -> HttpResponse:
    is_post = request.method == "POST"
    form = search.SearchForm(request.POST if is_post else request.GET)
    # Tasks that were created or failed after the confirmation was rendered are excluded.
    until = _parse_time(request.POST.get("until", "")) if is_post else timezone.now()
    if not form.is_valid() or until is None:
        context = {"page": "staff-tasks", "form": form, "verb": verb}
        return render(request, "taskyard/web/staff/bulk.html", context, status=400)
    criteria = form.criteria()
    if is_post:
        return _run(request, verb, criteria, until)
    context = {
        "page": "staff-tasks",
        "form": form,
        "verb": verb,
        "criteria": [(form[name].label, _display_value(form, name)) for name in criteria],
        "fields": list(criteria.items()),
        "until": until.isoformat(),
        **_count(_select(verb, criteria, until)),
    }
    return render(request, "taskyard/web/staff/bulk.html", context)


def _run(
    request: HttpRequest, verb: str, criteria: dict[str, Any], until: datetime
) -> HttpResponse:
    by_id = user_of(request).pk
    tasks = _select(verb, criteria, until)
    counted = _count(tasks)
    if counted["count"]:
        # Record the action first: it takes many transactions, and the process may be killed.
        noted = criteria | {"exception": criteria.get("exception", "").partition(":")[0]}
        noted = {name: noted[name] for name in criteria}  # without what a message says
        target = ", ".join(f"{name}={value}" for name, value in noted.items())
        audit.record(by_id, f"{verb}_tasks", target, search=noted, **counted)
    if verb == "cancel":
        done = core_bulk.cancel(tasks, by_id=by_id, seconds=SECONDS)
        text = _("Cancelled, or asked to stop: %(done)s.")
    else:
        done = core_bulk.retry(tasks, seconds=SECONDS)
        text = _("Submitted again: %(done)s.")
    notes.success(request, text % {"done": done})
    if not _count(tasks)["count"]:
        return redirect("taskyard_web:staff-tasks")
    if verb == "retry" and not done:
        notes.warning(
            request, _("The owners of the remaining tasks have reached their limits, or are busy.")
        )
    return redirect(f"{request.path}?{urlencode(criteria)}")


def _select(verb: str, criteria: dict[str, Any], until: datetime) -> TaskQuerySet:
    tasks = search.filter_tasks(criteria)
    if verb == "cancel":
        return core_bulk.cancellable(tasks).filter(created_at__lte=until)
    return core_bulk.retryable(tasks).filter(finished_at__lte=until)


def _count(tasks: TaskQuerySet) -> dict[str, Any]:
    count = tasks.order_by()[: MOST_COUNTED + 1].count()
    return {"count": min(count, MOST_COUNTED), "more": count > MOST_COUNTED}


def _parse_time(text: str) -> datetime | None:
    try:
        time = datetime.fromisoformat(text)
        return time.astimezone(UTC) if time.tzinfo else None
    except (ValueError, OverflowError):
        return None


def _display_value(form: search.SearchForm, name: str) -> Any:
    if name == "status":
        return dict(form.fields[name].choices)[form.cleaned_data[name]]  # type: ignore[attr-defined]
    return form.cleaned_data[name]
