"""What failed lately, by task type, code, exception and place in the author's code."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from taskyard.core.models import Task
from taskyard.web.staff import history_stats
from taskyard.web.staff.decorators import to_read

WINDOWS = {
    "1h": (_("the last hour"), timedelta(hours=1)),
    "24h": (_("the last day"), timedelta(days=1)),
    "7d": (_("the last week"), timedelta(days=7)),
}
MOST_GROUPS = 200


@dataclass
class Group:
    """Failures alike; ``message`` is the latest's."""

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
        """The query that finds these tasks among all."""
        asked = {"status": "error", "task_type": self.task_type, "error_code": self.error_code}
        if self.exception and self.error_code == "exception":
            # A message names a class without where it stands.
            asked["exception"] = self.exception.rpartition(".")[2]
        if self.location:
            asked["location"] = self.location
        return urlencode(asked)


@to_read
def errors(request: HttpRequest) -> HttpResponse:
    chosen = request.GET.get("window", "24h")
    if chosen not in WINDOWS:
        chosen = "24h"
    label, length = WINDOWS[chosen]
    failures = history_stats.explained(since=timezone.now() - length)
    groups = sorted(_groups(failures), key=lambda group: (-group.count, group.task_type))
    _give_messages(groups[:MOST_GROUPS])
    context = {
        "page": "staff-errors",
        "windows": [(key, name, key == chosen) for key, (name, _length) in WINDOWS.items()],
        "label": label,
        "groups": groups[:MOST_GROUPS],
        "hidden": max(0, len(groups) - MOST_GROUPS),
        "count": len(failures),
        "cut": failures[-1].finished_at if len(failures) == history_stats.MOST_FAILURES else None,
    }
    return render(request, "web/staff/errors.html", context)


def _groups(failures: list[history_stats.Failure]) -> Iterator[Group]:
    """The latest failure comes first."""
    found: dict[tuple[str, str, str, str], Group] = {}
    for each in failures:
        key = each.task_type, each.error_code, each.exception, each.location
        if key not in found:
            found[key] = Group(*key, 0, each.finished_at, each.finished_at, each.task_id)
        found[key].count += 1
        found[key].first_at = each.finished_at
    yield from found.values()


def _give_messages(groups: list[Group]) -> None:
    latest = Task.objects.filter(id__in=[group.task_id for group in groups])
    messages = dict(latest.values_list("id", "error_message"))
    for group in groups:
        group.message = messages.get(group.task_id, "")
