"""Recent failures, grouped by task type, error code, exception and location in the code."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from taskyard.core import roles
from taskyard.core.models import Task
from taskyard.web.staff import history_stats
from taskyard.web.staff.decorators import staff_view
from taskyard.web.view_helpers import render, user_of

WINDOWS = {
    "1h": (_("the last hour"), timedelta(hours=1)),
    "24h": (_("the last day"), timedelta(days=1)),
    "7d": (_("the last week"), timedelta(days=7)),
}
MOST_GROUPS = 200


@dataclass
class Group:
    """Failures with the same key; ``message`` is that of the latest one."""

    task_type: str
    error_code: str
    exception: str
    location: str
    count: int
    first_at: datetime
    last_at: datetime
    task_id: int
    message: str = ""

    @property
    def search(self) -> str:
        """The query string that searches for these tasks."""
        criteria = {"status": "error", "task_type": self.task_type, "error_code": self.error_code}
        if self.exception and self.error_code == "exception":
            # A message begins with the class name without its module.
            criteria["exception"] = self.exception.rpartition(".")[2]
        if self.location:
            criteria["location"] = self.location
        return urlencode(criteria)


@staff_view
def errors(request: HttpRequest) -> HttpResponse:
    chosen = request.GET.get("window", "24h")
    if chosen not in WINDOWS:
        chosen = "24h"
    _label, length = WINDOWS[chosen]
    failures = history_stats.failures_with_exceptions(since=timezone.now() - length)
    groups = sorted(_groups(failures), key=lambda group: (-group.count, group.task_type))
    if roles.sees_data(user_of(request)):
        _load_messages(groups[:MOST_GROUPS])
    context = {
        "page": "staff-errors",
        "windows": [(key, name, key == chosen) for key, (name, _length) in WINDOWS.items()],
        "groups": groups[:MOST_GROUPS],
        "hidden": max(0, len(groups) - MOST_GROUPS),
        "count": len(failures),
        "cut": failures[-1].finished_at if len(failures) == history_stats.MOST_FAILURES else None,
    }
    return render(request, "taskyard/web/staff/errors.html", context)


def _groups(failures: list[history_stats.Failure]) -> Iterator[Group]:
    """Group the failures, which are ordered from the latest to the oldest."""
    groups: dict[tuple[str, str, str, str], Group] = {}
    for failure in failures:
        key = failure.task_type, failure.error_code, failure.exception, failure.location
        at = failure.finished_at
        group = groups.setdefault(key, Group(*key, 0, at, at, failure.task_id))
        group.count += 1
        group.first_at = at
    yield from groups.values()


def _load_messages(groups: list[Group]) -> None:
    latest = Task.objects.filter(id__in=[group.task_id for group in groups])
    messages = dict(latest.values_list("id", "error_message"))
    for group in groups:
        group.message = messages.get(group.task_id, "")
