"""What staff did."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from taskyard.core.models import AuditEntry
from taskyard.web.staff.decorators import ACTIONS, position, to_read

PAGE = 100


@to_read
def audit(request: HttpRequest) -> HttpResponse:
    before = position(request)
    lines = AuditEntry.objects.order_by("-id")
    if before is not None:
        lines = lines.filter(id__lt=before)
    page = list(lines[: PAGE + 1])
    context = {
        "page": "staff-audit",
        "lines": [(line, ACTIONS.get(line.action, line.action)) for line in page[:PAGE]],
        "older": page[PAGE - 1].pk if len(page) > PAGE else None,
        "begun": before is not None,
    }
    return render(request, "web/staff/audit.html", context)
