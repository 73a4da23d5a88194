"""My tasks: the list, one of them, and what can be done with them."""

from contextlib import suppress
from typing import Any

from django.contrib import messages as notes
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from taskyard.catalog.schema import InvalidInput
from taskyard.core import deletion, history, intake, lifecycle, messages, quotas, search
from taskyard.core.errors import NotCancellable, Rejected, StillActive
from taskyard.core.intake import LARGEST_ID
from taskyard.core.models import Account, LogLine, Task
from taskyard.core.states import TERMINAL, Status
from taskyard.live import changes
from taskyard.web import summaries, task_list, timeline
from taskyard.web.streams import USER
from taskyard.web.task_list import Filters
from taskyard.web.view_helpers import next_address, signed_in, user_of

MOST_SELECTED = 200
MOST_NEWS = 1000
HOLDERS_SHOWN = 8


@signed_in
@require_safe
def tasks(request: HttpRequest) -> HttpResponse:
    user_id = user_of(request).pk
    since = changes.now()
    filters = Filters.of(request.GET)
    page = task_list.page(user_id, filters)
    context = {
        "page": "tasks",
        "list": page,
        "filters": filters,
        "types": task_list.types(),
        "chips": _chips(user_id, filters),
        "since": since,
        "is_first": filters.before is None and filters.after is None,
        **_quota(user_id),
    }
    return render(request, "web/tasks/list.html", context, status=400 if filters.errors else 200)


@signed_in
@require_safe
def rows(request: HttpRequest) -> HttpResponse:
    """What the list shows of some tasks, the quota, and how many tasks came since."""
    user_id = user_of(request).pk
    asked = task_list.ids(request.GET.get("ids", ""))
    mine = Task.objects.owned_by(user_id).filter(id__in=asked).defer(*task_list.UNSEEN)
    found = summaries.with_heads(mine)
    context: dict[str, Any] = {"tasks": found, **_quota(user_id)}
    newest = task_list.ids(request.GET.get("newest", ""))
    if newest:
        news = Filters.of(request.GET).matching(user_id).filter(id__gt=newest[0])
        with suppress(search.TookTooLong), search.bounded():
            context["news"] = news.order_by()[:MOST_NEWS].count()
    return render(request, "web/tasks/rows.html", context)


@signed_in
@require_POST
def change(request: HttpRequest) -> HttpResponse:
    """Cancel or delete the tasks that were selected."""
    user_id = user_of(request).pk
    selected = task_list.ids(",".join(request.POST.getlist("task")), MOST_SELECTED)
    found = Task.objects.owned_by(user_id).filter(id__in=selected)
    delete = request.POST.get("do") == "delete"
    done = _delete(found) if delete else _cancel(found, user_id)
    if not selected:
        notes.warning(request, _("No task is selected."))
    elif delete:
        notes.success(request, _("Deleted: %(done)s.") % {"done": done})
    else:
        notes.success(request, _("Cancelled, or asked to stop: %(done)s.") % {"done": done})
    if selected and done < len(selected):
        left = len(selected) - done
        why = (
            _("Not deleted, because they are active: %(left)s.")
            if delete
            else _("Not cancelled, because they have ended: %(left)s.")
        )
        notes.warning(request, why % {"left": left})
    return HttpResponseRedirect(next_address(request))


@signed_in
@require_safe
def task(request: HttpRequest, task_id: int) -> HttpResponse:
    since = changes.now()
    found = _own(request, task_id)
    context = {**_shown(found), "page": "tasks", "since": since, "lines": _lines(found)}
    return render(request, "web/tasks/task.html", context)


@signed_in
@require_safe
def part(request: HttpRequest, task_id: int) -> HttpResponse:
    """What changes on the page of a task, and the log lines behind the last one known."""
    found = _own(request, task_id)
    context = _shown(found)
    known = task_list.ids(request.GET.get("after", "0")) or [0]
    context["lines"] = found.log_lines.filter(id__gt=known[0]).order_by("id")
    return render(request, "web/tasks/part.html", context)


@signed_in
@require_POST
def cancel(request: HttpRequest, task_id: int) -> HttpResponse:
    found = _own(request, task_id)
    try:
        lifecycle.cancel(found.pk, by_id=user_of(request).pk)
    except Rejected as error:
        _note(request, error)
    except Task.DoesNotExist:
        raise Http404 from None
    return redirect("task", task_id)


@signed_in
@require_POST
def retry(request: HttpRequest, task_id: int) -> HttpResponse:
    found = _own(request, task_id)
    try:
        intake.known_type(found.task_type)
        return redirect("task", lifecycle.retry(found).pk)
    except InvalidInput as error:
        notes.error(request, messages.of_field_error(error.field_errors[0]))
    except Rejected as error:
        _note(request, error)
    except Task.DoesNotExist:
        raise Http404 from None
    return redirect("task", task_id)


@signed_in
@require_POST
def delete(request: HttpRequest, task_id: int) -> HttpResponse:
    found = _own(request, task_id)
    try:
        deletion.delete(found)
    except Rejected as error:
        _note(request, error)
        return redirect("task", task_id)
    notes.success(request, _("Deleted: %(done)s.") % {"done": f"№ {task_id}"})
    return redirect("tasks")


@signed_in
@require_safe
def events(request: HttpRequest) -> HttpResponse:
    """Where the stream is. The ASGI server learns here whose it is, and answers itself."""
    return HttpResponse(status=406, headers={USER: str(user_of(request).pk)})


def _own(request: HttpRequest, task_id: int) -> Task:
    """The task of whoever asks; raises Http404 alike for another's and for none."""
    mine = Task.objects.owned_by(user_of(request).pk).defer("checkpoint")
    found = mine.filter(pk=task_id).first() if task_id <= LARGEST_ID else None
    if found is None:
        raise Http404
    return found


def _shown(found: Task) -> dict[str, Any]:
    attempts = history.attempts(found)
    spans = timeline.spans(found, attempts)
    return {
        "task": found,
        "spans": spans,
        "strip": timeline.strip(spans),
        "is_active": found.status not in TERMINAL,
        "can_retry": found.status in (Status.ERROR, Status.CANCELLED),
        "failure": messages.of_failure(found.error_message),
    }


def _lines(found: Task) -> list[LogLine]:
    return list(found.log_lines.order_by("id"))


def _quota(user_id: int) -> dict[str, Any]:
    limits = quotas.limits(user_id)
    holders = Task.objects.filter(id__in=limits.tasks[:HOLDERS_SHOWN]).order_by("id")
    return {
        "quota": limits,
        "places": [number < limits.active for number in range(limits.active_limit)]
        if limits.active_limit <= 12
        else [],
        "holders": holders.only("id", "task_type"),
        "more_holders": max(0, limits.active - HOLDERS_SHOWN),
    }


def _chips(user_id: int, filters: Filters) -> list[dict[str, Any]]:
    account = Account.objects.filter(user_id=user_id).first()
    return [
        {
            "status": status.value,
            "label": status.label,
            "count": getattr(account, status.value, "") if status in TERMINAL else "",
            "chosen": status.value in filters.statuses,
            "address": filters.address(status=status.value),
        }
        for status in Status
    ]


def _cancel(found: "QuerySet[Task]", user_id: int) -> int:
    done = 0
    for each in found.values_list("id", flat=True):
        try:
            lifecycle.cancel(each, by_id=user_id)
            done += 1
        except (NotCancellable, Task.DoesNotExist):
            continue
    return done


def _delete(found: "QuerySet[Task]") -> int:
    done = 0
    for each in found:
        try:
            deletion.delete(each)
            done += 1
        except StillActive:
            continue
    return done


def _note(request: HttpRequest, error: Rejected) -> None:
    notes.error(request, messages.of(error.code, error.code, error.params))
