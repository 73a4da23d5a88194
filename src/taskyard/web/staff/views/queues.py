"""Queues and task types: their depth and throughput; pause and resume queues."""

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _

from taskyard.catalog.task_type import registry
from taskyard.core import queues as core_queues
from taskyard.core import stats
from taskyard.core.models import PausedQueue, Task
from taskyard.web import notes
from taskyard.web.staff import history_stats
from taskyard.web.staff.decorators import staff_action, staff_view
from taskyard.web.view_helpers import render, user_of


@staff_view
def queues(request: HttpRequest) -> HttpResponse:
    depths = stats.depths()
    past = history_stats.history()
    paused = {each.name: each for each in PausedQueue.objects.select_related("paused_by")}
    serving = [name for each in stats.workers() if each.alive for name in each.queues]
    known = {each.name: each for each in registry.all()}
    names = {*registry.queues(), *paused, *(queue for queue, _type in depths), *past.queues}
    types = {*known, *(task_type for _queue, task_type in depths), *past.types}
    context = {
        "page": "staff-queues",
        "queues": [
            {
                "name": name,
                "paused": paused.get(name),
                "depth": stats.total(
                    each for (queue, _type), each in depths.items() if queue == name
                ),
                "hour": past.queues.get(name, history_stats.LastHour()),
                "workers": serving.count(name),
            }
            for name in sorted(names)
        ],
        "types": [
            {
                "name": name,
                "known": known.get(name),
                "depth": stats.total(
                    each for (_queue, kind), each in depths.items() if kind == name
                ),
                "hour": past.types.get(name, history_stats.LastHour()),
            }
            for name in sorted(types)
        ],
        "past": past,
    }
    return render(request, "taskyard/web/staff/queues.html", context)


@staff_action
def pause(request: HttpRequest) -> HttpResponse:
    name = _known(request)
    core_queues.pause(name, by_id=user_of(request).pk)
    notes.success(request, _("Paused: %(queue)s.") % {"queue": name})
    return redirect("taskyard_web:staff-queues")


@staff_action
def resume(request: HttpRequest) -> HttpResponse:
    name = _known(request)
    core_queues.resume(name, by_id=user_of(request).pk)
    notes.success(request, _("Resumed: %(queue)s.") % {"queue": name})
    return redirect("taskyard_web:staff-queues")


def _known(request: HttpRequest) -> str:
    """The queue in the form. Raises Http404 if no task and no task type uses it."""
    name = request.POST.get("queue", "")
    if name in registry.queues() or name in core_queues.paused():
        return name
    # Its task type may have been uninstalled while it has active tasks.
    if "\0" not in name and Task.objects.active().filter(queue=name).exists():
        return name
    raise Http404
