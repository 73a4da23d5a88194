"""What happens now, and what happened lately, on one page."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from taskyard.core import queues, stats
from taskyard.web.staff import charts, history_stats
from taskyard.web.staff.decorators import to_read
from taskyard.web.view_helpers import asks_for_part


@to_read
def overview(request: HttpRequest) -> HttpResponse:
    """The page asks for itself again every few seconds, and takes the part that moves."""
    seen = history_stats.history()
    workers = stats.workers()
    context = {
        "page": "staff-overview",
        "total": stats.total(stats.depths().values()),
        "ended": stats.ended(),
        "past": seen,
        "charts": [charts.draw(seen.hour), charts.draw(seen.day)],
        "workers": workers,
        "alive": [each for each in workers if each.alive],
        "slots": sum(each.slots for each in workers if each.alive),
        "in_use": sum(each.in_use for each in workers if each.alive),
        "broker": stats.broker(),
        "database": stats.database(),
        "paused": sorted(queues.paused()),
    }
    name = "overview_now" if asks_for_part(request) else "overview"
    return render(request, f"web/staff/{name}.html", context)
