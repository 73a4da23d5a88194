"""The audit log: the actions of staff."""

from django.http import HttpRequest, HttpResponse

from taskyard.core.models import AuditEntry
from taskyard.web.staff.decorators import ACTIONS, page_start, staff_view
from taskyard.web.view_helpers import render

PAGE_SIZE = 100


@staff_view
def audit(request: HttpRequest) -> HttpResponse:
    before = page_start(request)
    lines = AuditEntry.objects.order_by("-id")
    if before is not None:
        lines = lines.filter(id__lt=before)
    page = list(lines[: PAGE_SIZE + 1])
    context = {
        "page": "staff-audit",
        "lines": [(line, ACTIONS.get(line.action, line.action)) for line in page[:PAGE_SIZE]],
        "older": page[PAGE_SIZE - 1].pk if len(page) > PAGE_SIZE else None,
        "is_continued": before is not None,
    }
    return render(request, "taskyard/web/staff/audit.html", context)
