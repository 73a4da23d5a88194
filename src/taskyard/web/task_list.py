"""The list of the user's tasks: filters and pages, newest first."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from urllib.parse import urlencode

from django.http import QueryDict
from django.utils.translation import gettext as _

from taskyard.catalog.task_type import registry
from taskyard.core import messages, search
from taskyard.core.models import Task
from taskyard.core.querysets import TaskQuerySet
from taskyard.core.states import Status
from taskyard.core.types import LARGEST_ID, UserId
from taskyard.web import summaries

PAGE_SIZE = 50
NAMES = ("q", "type", "tag", "from", "to")
# These may be large, and a row shows only their beginnings.
DEFERRED = ("input_data", "result", "checkpoint", "error_message")


@dataclass
class Filters:
    """The filters of a query string. ``errors`` has a message for each invalid parameter."""

    statuses: list[str] = field(default_factory=list)
    values: dict[str, str] = field(default_factory=dict)
    before: int | None = None
    after: int | None = None
    errors: dict[str, str] = field(default_factory=dict)
    since: datetime | None = None
    until: datetime | None = None
    timed_out: bool = False

    @classmethod
    def from_query(cls, query: QueryDict) -> "Filters":
        filters = cls(values={name: query.get(name, "").strip() for name in NAMES})
        filters.statuses = [status for status in query.getlist("status") if status in Status]
        if len(filters.statuses) < len(query.getlist("status")):
            filters.errors["status"] = _("There is no such status.")
        filters.before = _parse_id(query.get("before"))
        filters.after = _parse_id(query.get("after"))
        filters.values["q"] = filters.values["q"].replace("\0", "")[: search.LONGEST]
        filters.since = filters._parse_day("from")
        filters.until = filters._parse_day("to")
        return filters

    def _parse_day(self, name: str) -> datetime | None:
        """The first moment of the day ``from``, the last moment of the day ``to``."""
        if not self.values[name]:
            return None
        try:
            day = datetime.combine(datetime.fromisoformat(self.values[name]), time(), UTC)
            return day + timedelta(days=1, microseconds=-1) if name == "to" else day
        except (ValueError, OverflowError):
            self.errors[name] = _("A date is expected.")
            return None

    def __bool__(self) -> bool:
        return bool(self.statuses or any(self.values.values()))

    def query_string(self, **changes: object) -> str:
        """The query string of these filters, with another page or status."""
        status = changes.pop("status", self.statuses)
        statuses = status if isinstance(status, list) else [status]
        pairs = [("status", value) for value in statuses]
        pairs += [(name, value) for name, value in self.values.items() if value]
        return urlencode([*pairs, *((name, str(value)) for name, value in changes.items())])

    def queryset(self, user_id: UserId) -> TaskQuerySet:
        """The user's tasks that match, with what a row shows."""
        criteria = search.Criteria(
            statuses=self.statuses,
            task_type=self.values["type"],
            tag=self.values["tag"],
            created_from=self.since,
            created_to=self.until,
            text=self.values["q"],
        )
        tasks = criteria.filter(Task.objects.owned_by(user_id))
        return summaries.annotate_heads(tasks.defer(*DEFERRED))


@dataclass(frozen=True)
class Page:
    """Tasks, newest first; ``older`` and ``newer`` are the query strings of the adjacent pages.

    ``searched_count`` is set if a search stopped before the oldest task.
    """

    tasks: list[Task]
    older: str | None
    newer: str | None
    searched_count: int | None = None

    @property
    def newest(self) -> int:
        return self.tasks[0].pk if self.tasks else 0


def page(user_id: UserId, filters: Filters) -> Page:
    """A page of tasks. Pages are bounded by ids, not offsets, so all take the same time."""
    if filters.values["q"]:
        return _search_page(user_id, filters)
    tasks = filters.queryset(user_id)
    if filters.after is not None:
        rows = list(tasks.filter(id__gt=filters.after).order_by("id")[: PAGE_SIZE + 1])
        has_newer, has_older = len(rows) > PAGE_SIZE, True
        rows = rows[:PAGE_SIZE][::-1]
    else:
        if filters.before is not None:
            tasks = tasks.filter(id__lt=filters.before)
        rows = list(tasks.order_by("-id")[: PAGE_SIZE + 1])
        has_newer, has_older = filters.before is not None, len(rows) > PAGE_SIZE
        rows = rows[:PAGE_SIZE]
    return Page(
        rows,
        filters.query_string(before=rows[-1].pk) if rows and has_older else None,
        filters.query_string(after=rows[0].pk) if rows and has_newer else None,
    )


def _search_page(user_id: UserId, filters: Filters) -> Page:
    """A page of a text search, which reads only the latest tasks, or those before ``before``."""
    own_tasks = Task.objects.owned_by(user_id)
    tasks = filters.queryset(user_id)
    if filters.before is not None:
        own_tasks = own_tasks.filter(id__lt=filters.before)
        tasks = tasks.filter(id__lt=filters.before)
    floor = own_tasks.order_by("-id").values_list("id", flat=True)[search.LOOK :].first()
    if floor is not None:
        tasks = tasks.filter(id__gt=floor)
    try:
        with search.bounded():
            rows = list(tasks.order_by("-id")[: PAGE_SIZE + 1])
    except search.TookTooLong:
        filters.timed_out = True
        return Page([], None, None)
    if len(rows) > PAGE_SIZE:
        return Page(rows[:PAGE_SIZE], filters.query_string(before=rows[PAGE_SIZE - 1].pk), None)
    older = None if floor is None else filters.query_string(before=floor + 1)
    return Page(rows, older, None, None if floor is None else search.LOOK)


def type_choices() -> list[tuple[str, str]]:
    """Names and labels of the task types."""
    return [(each.name, messages.of_type(each, each.label)) for each in registry.public()]


def _parse_id(text: str | None) -> int | None:
    if text and text.isascii() and text.isdecimal() and len(text) < 20:
        return min(int(text), LARGEST_ID)
    return None


def parse_ids(text: str, most: int = 200) -> list[int]:
    """Parse ids separated by commas; invalid ones are skipped."""
    task_ids = map(_parse_id, text.split(",")[:most])
    return [task_id for task_id in task_ids if task_id is not None]
