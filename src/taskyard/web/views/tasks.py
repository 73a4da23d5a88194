"""The user's tasks: the list, the page of a task, and actions on tasks."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from taskyard.catalog.schema import InvalidInput
from taskyard.core import deletion, history, intake, lifecycle, messages, quotas, search
from taskyard.core.errors import NotCancellable, Rejected, StillActive, StillReferenced
from taskyard.core.models import Quota, Task
from taskyard.core.states import TERMINAL, Status
from taskyard.core.types import LARGEST_ID, UserId
from taskyard.live import changes
from taskyard.live.asgi import owner_headers
from taskyard.live.streams import is_sse_check, sse_view
from taskyard.web import notes, project, summaries, task_list, timeline
from taskyard.web.streams import PageStreams
from taskyard.web.task_list import Filters
from taskyard.web.view_helpers import next_url, render, signed_in, user_of

MOST_SELECTED = 200
MAX_NEW_COUNT = 1000
HOLDERS_SHOWN = 8


@signed_in
@require_safe
def tasks(request: HttpRequest) -> HttpResponse:
    user_id = user_of(request).pk
    since = changes.now()
    filters = Filters.from_query(request.GET)
    page = task_list.page(user_id, filters)
    context = {
        "page": "tasks",
        "list": page,
        "filters": filters,
        "types": task_list.type_choices(),
        "chips": _status_chips(user_id, filters),
        "since": since,
        "is_first": filters.before is None and filters.after is None,
        **_quota_context(user_id),
    }
    return render(
        request, "taskyard/web/tasks/list.html", context, status=400 if filters.errors else 200
    )


@signed_in
@require_safe
def rows(request: HttpRequest) -> HttpResponse:
    """The rows of the given tasks, the quota, and the number of newer tasks, as a part."""
    user_id = user_of(request).pk
    task_ids = task_list.parse_ids(request.GET.get("ids", ""))
    own_tasks = Task.objects.owned_by(user_id).filter(id__in=task_ids).defer(*task_list.DEFERRED)
    context: dict[str, Any] = {
        "tasks": summaries.annotate_heads(own_tasks),
        **_quota_context(user_id),
    }
    newest = task_list.parse_ids(request.GET.get("newest", ""))
    if newest:
        newer = Filters.from_query(request.GET).queryset(user_id).filter(id__gt=newest[0])
        with suppress(search.TookTooLong), search.bounded():
            context["new_count"] = newer.order_by()[:MAX_NEW_COUNT].count()
    return render(request, "taskyard/web/tasks/rows.html", context)


@signed_in
@require_POST
def change(request: HttpRequest) -> HttpResponse:
    """Cancel or delete the selected tasks."""
    user_id = user_of(request).pk
    task_ids = task_list.parse_ids(",".join(request.POST.getlist("task")), MOST_SELECTED)
    selected = Task.objects.owned_by(user_id).filter(id__in=task_ids)
    is_delete = request.POST.get("do") == "delete"
    done = _delete(selected) if is_delete else _cancel(selected, user_id)
    if not task_ids:
        notes.warning(request, _("No task is selected."))
    elif is_delete:
        notes.success(request, _("Deleted: %(done)s.") % {"done": done})
    else:
        notes.success(request, _("Cancelled, or asked to stop: %(done)s.") % {"done": done})
    if done < len(task_ids):
        text = (
            _("Not deleted, because they are active: %(left)s.")
            if is_delete
            else _("Not cancelled, because they have ended: %(left)s.")
        )
        notes.warning(request, text % {"left": len(task_ids) - done})
    return HttpResponseRedirect(next_url(request))


@signed_in
@require_safe
def task(request: HttpRequest, task_id: int) -> HttpResponse:
    since = changes.now()
    task = own_task(request, task_id)
    context = {
        **_task_context(task),
        "page": "tasks",
        "since": since,
        "lines": task.log_lines.order_by("id"),
        **_files_context(task),
    }
    return render(request, "taskyard/web/tasks/task.html", context)


@signed_in
@require_safe
def part(request: HttpRequest, task_id: int) -> HttpResponse:
    """The changing parts of a task's page, and the log lines after the one in ``after``."""
    task = own_task(request, task_id)
    context = _task_context(task)
    if task.status in TERMINAL:  # a task shows new files when it ends
        context |= _files_context(task)
    line_ids = task_list.parse_ids(request.GET.get("after", "0")) or [0]
    context["lines"] = task.log_lines.filter(id__gt=line_ids[0]).order_by("id")
    return render(request, "taskyard/web/tasks/part.html", context)


@signed_in
@require_POST
def cancel(request: HttpRequest, task_id: int) -> HttpResponse:
    task = own_task(request, task_id)
    with _errors_shown(request):
        lifecycle.cancel(task.pk, by_id=user_of(request).pk)
    return redirect("taskyard_web:task", task_id)


@signed_in
@require_POST
def retry(request: HttpRequest, task_id: int) -> HttpResponse:
    task = own_task(request, task_id)
    with _errors_shown(request):
        intake.known_type(task.task_type)
        task_id = lifecycle.retry(task).pk
    return redirect("taskyard_web:task", task_id)


@signed_in
@require_POST
def delete(request: HttpRequest, task_id: int) -> HttpResponse:
    task = own_task(request, task_id)
    target: tuple[Any, ...] = ("taskyard_web:task", task_id)
    with _errors_shown(request):
        deletion.delete(task)
        notes.success(request, _("Deleted: %(done)s.") % {"done": f"№ {task_id}"})
        target = ("taskyard_web:tasks",)
    return redirect(*target)


@sse_view(PageStreams)
@signed_in
@require_safe
def events(request: HttpRequest) -> HttpResponse:
    """Name the user in a header: ``PageStreams`` calls this view and then serves the stream.

    A server without ``live.with_streams`` cannot stream: the scripts get a 406, and poll.
    """
    if not is_sse_check(request):
        return HttpResponse(status=406)
    return HttpResponse(headers=owner_headers(user_of(request).pk))


def own_task(request: HttpRequest, task_id: int) -> Task:
    """The user's task. Raises Http404 if it does not exist or belongs to another user."""
    own_tasks = Task.objects.owned_by(user_of(request).pk).defer("checkpoint")
    task = own_tasks.filter(pk=task_id).first() if task_id <= LARGEST_ID else None
    if task is None:
        raise Http404
    return task


def _task_context(task: Task) -> dict[str, Any]:
    spans = timeline.build_spans(task, history.attempts(task))
    return {
        "task": task,
        "spans": spans,
        "strip": timeline.build_strip(spans),
        "is_active": task.status not in TERMINAL,
        "can_retry": task.status in (Status.ERROR, Status.CANCELLED)
        and task.input_data is not None,
        "failure": messages.of_failure(task.error_message),
        "has_files": project.has_files(),
    }


def _files_context(task: Task) -> dict[str, Any]:
    """The files of a task; none if the project has no files."""
    if not project.has_files() or not task.has_files:
        return {}
    from taskyard.web import previews

    files = previews.of_task(task)
    return {
        f"{role}s": [each for each in files if each.role == role] for role in ("input", "output")
    }


def _quota_context(user_id: UserId) -> dict[str, Any]:
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


def _status_chips(user_id: UserId, filters: Filters) -> list[dict[str, Any]]:
    quota = Quota.objects.filter(user_id=user_id).first()
    return [
        {
            "status": status.value,
            "label": status.label,
            "count": getattr(quota, status.value, "") if status in TERMINAL else "",
            "chosen": status.value in filters.statuses,
            "query_string": filters.query_string(status=status.value),
        }
        for status in Status
    ]


def _cancel(selected: "QuerySet[Task]", user_id: UserId) -> int:
    done = 0
    for task_id in selected.values_list("id", flat=True):
        with suppress(NotCancellable, Task.DoesNotExist):
            lifecycle.cancel(task_id, by_id=user_id)
            done += 1
    return done


def _delete(selected: "QuerySet[Task]") -> int:
    done = 0
    for task in selected:
        with suppress(StillActive, StillReferenced):
            deletion.delete(task)
            done += 1
    return done


@contextmanager
def _errors_shown(request: HttpRequest) -> Iterator[None]:
    """Show the page why the block was refused. Raises Http404 for a task that has been deleted."""
    try:
        yield
    except InvalidInput as error:
        notes.error(request, messages.of_field_error(error.field_errors[0]))
    except Rejected as error:
        notes.error(request, messages.of(error.code, error.code, error.params))
    except Task.DoesNotExist:
        raise Http404 from None
