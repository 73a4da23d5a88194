"""What happens now, and what happened lately, on one page."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from taskyard.core import queues
from taskyard.dashboard.pages import asks_for_part
from taskyard.dashboard.staff import charts, now, past
from taskyard.dashboard.staff.access import to_read


@to_read
def overview(request: HttpRequest) -> HttpResponse:
    """The page asks for itself again every few seconds, and takes the part that moves."""
    seen = past.past()
    workers = now.workers()
    context = {
        "page": "staff-overview",
        "total": now.total(now.depths().values()),
        "ended": now.ended(),
        "past": seen,
        "charts": [charts.draw(seen.hour), charts.draw(seen.day)],
        "workers": workers,
        "alive": [each for each in workers if each.alive],
        "slots": sum(each.slots for each in workers if each.alive),
        "in_use": sum(each.in_use for each in workers if each.alive),
        "broker": now.broker(),
        "database": now.database(),
        "paused": sorted(queues.paused()),
    }
    name = "overview_now" if asks_for_part(request) else "overview"
    return render(request, f"dashboard/staff/{name}.html", context)
