"""Queues and task types: how full, how fast; pausing and resuming."""

from django.contrib import messages as notes
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _

from taskyard.catalog.task_type import registry
from taskyard.core import queues as core_queues
from taskyard.core import stats
from taskyard.core.models import PausedQueue, Task
from taskyard.web.staff import history_stats
from taskyard.web.staff.decorators import to_act, to_read
from taskyard.web.view_helpers import user_of


@to_read
def queues(request: HttpRequest) -> HttpResponse:
    depths = stats.depths()
    seen = history_stats.history()
    paused = {each.name: each for each in PausedQueue.objects.select_related("paused_by")}
    serving = [name for each in stats.workers() if each.alive for name in each.queues]
    known = {each.name: each for each in registry.all()}
    names = {*registry.queues(), *paused, *(queue for queue, _type in depths), *seen.queues}
    types = {*known, *(task_type for _queue, task_type in depths), *seen.types}
    context = {
        "page": "staff-queues",
        "queues": [
            {
                "name": name,
                "paused": paused.get(name),
                "depth": stats.total(
                    each for (queue, _type), each in depths.items() if queue == name
                ),
                "hour": seen.queues.get(name, history_stats.LastHour()),
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
                "hour": seen.types.get(name, history_stats.LastHour()),
            }
            for name in sorted(types)
        ],
        "past": seen,
    }
    return render(request, "web/staff/queues.html", context)


@to_act
def pause(request: HttpRequest) -> HttpResponse:
    name = _known(request)
    core_queues.pause(name, by_id=user_of(request).pk)
    notes.success(request, _("Paused: %(queue)s.") % {"queue": name})
    return redirect("staff-queues")


@to_act
def resume(request: HttpRequest) -> HttpResponse:
    name = _known(request)
    core_queues.resume(name, by_id=user_of(request).pk)
    notes.success(request, _("Resumed: %(queue)s.") % {"queue": name})
    return redirect("staff-queues")


def _known(request: HttpRequest) -> str:
    """The queue that a form names; raises Http404."""
    name = request.POST.get("queue", "")
    if name in registry.queues() or name in core_queues.paused():
        return name
    # Work of a type that is not installed here any more.
    if "\0" not in name and Task.objects.active().filter(queue=name).exists():
        return name
    raise Http404
