"""The overview: the current state and the recent history of the system."""

from django.http import HttpRequest, HttpResponse

from taskyard.core import queues, stats
from taskyard.web.staff import charts, history_stats
from taskyard.web.staff.decorators import staff_view
from taskyard.web.view_helpers import is_htmx_request, render


@staff_view
def overview(request: HttpRequest) -> HttpResponse:
    """The overview page, or only its changing part, which the page requests every 5 s."""
    past = history_stats.history()
    workers = stats.workers()
    context = {
        "page": "staff-overview",
        "total": stats.total(stats.depths().values()),
        "ended": stats.ended(),
        "past": past,
        "charts": [charts.draw(past.hour), charts.draw(past.day)],
        "workers": workers,
        "alive": [each for each in workers if each.alive],
        "slots": sum(each.slots for each in workers if each.alive),
        "in_use": sum(each.in_use for each in workers if each.alive),
        "broker": stats.broker(),
        "database": stats.database(),
        "paused": sorted(queues.paused()),
    }
    name = "overview_now" if is_htmx_request(request) else "overview"
    return render(request, f"taskyard/web/staff/{name}.html", context)
