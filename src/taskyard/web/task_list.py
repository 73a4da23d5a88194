"""My tasks: by what they are filtered, and a page of them, the newest first."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from urllib.parse import urlencode

from django.http import QueryDict
from django.utils.translation import gettext as _

from taskyard.catalog.task_type import registry
from taskyard.core import messages, search
from taskyard.core.intake import LARGEST_ID
from taskyard.core.models import Task
from taskyard.core.querysets import TaskQuerySet
from taskyard.core.states import Status
from taskyard.web import summaries

PAGE = 50
NAMES = ("q", "type", "tag", "from", "to")
# A row shows no more than the beginnings of these, and each may be large.
UNSEEN = ("input_data", "result", "checkpoint", "error_message")


@dataclass
class Filters:
    """What the address asks for; ``errors`` says of each part that cannot be used why."""

    statuses: list[str] = field(default_factory=list)
    typed: dict[str, str] = field(default_factory=dict)
    before: int | None = None
    after: int | None = None
    errors: dict[str, str] = field(default_factory=dict)
    since: datetime | None = None
    until: datetime | None = None
    took_too_long: bool = False

    @classmethod
    def of(cls, query: QueryDict) -> "Filters":
        found = cls(typed={name: query.get(name, "").strip() for name in NAMES})
        found.statuses = [status for status in query.getlist("status") if status in Status]
        if len(found.statuses) < len(query.getlist("status")):
            found.errors["status"] = _("There is no such status.")
        found.before, found.after = _id(query.get("before")), _id(query.get("after"))
        found.typed["q"] = found.typed["q"].replace("\0", "")[: search.LONGEST]
        found.since = found._day("from")
        found.until = found._day("to")
        return found

    def _day(self, name: str) -> datetime | None:
        """The first moment of a day; its last one, if it is the day until which tasks are shown."""
        if not self.typed[name]:
            return None
        try:
            day = datetime.combine(datetime.fromisoformat(self.typed[name]), time(), UTC)
            return day + timedelta(days=1, microseconds=-1) if name == "to" else day
        except (ValueError, OverflowError):
            self.errors[name] = _("A date is expected.")
            return None

    def __bool__(self) -> bool:
        return bool(self.statuses or any(self.typed.values()))

    def address(self, **changes: object) -> str:
        """The query of the same filters, with another page or another status."""
        status = changes.pop("status", self.statuses)
        pairs = [("status", each) for each in (status if isinstance(status, list) else [status])]
        pairs += [(name, value) for name, value in self.typed.items() if value]
        return urlencode([*pairs, *((name, str(value)) for name, value in changes.items())])

    def matching(self, user_id: int) -> TaskQuerySet:
        criteria = search.Criteria(
            statuses=self.statuses,
            task_type=self.typed["type"],
            tag=self.typed["tag"],
            created_from=self.since,
            created_to=self.until,
            text=self.typed["q"],
        )
        tasks = criteria.filter(Task.objects.owned_by(user_id))
        return summaries.with_heads(tasks.defer(*UNSEEN))


@dataclass(frozen=True)
class Page:
    """Tasks, the newest first; ``older`` and ``newer`` are the queries of the pages beside.

    ``looked_at`` is set where a search ended before the oldest task.
    """

    tasks: list[Task]
    older: str | None
    newer: str | None
    looked_at: int | None = None

    @property
    def newest(self) -> int:
        return self.tasks[0].pk if self.tasks else 0


def page(user_id: int, filters: Filters) -> Page:
    """By ids and not by counting: as fast at any depth."""
    if filters.typed["q"]:
        return _searched(user_id, filters)
    tasks = filters.matching(user_id)
    if filters.after is not None:
        found = list(tasks.filter(id__gt=filters.after).order_by("id")[: PAGE + 1])
        more_newer, more_older = len(found) > PAGE, True
        found = found[:PAGE][::-1]
    else:
        if filters.before is not None:
            tasks = tasks.filter(id__lt=filters.before)
        found = list(tasks.order_by("-id")[: PAGE + 1])
        more_newer, more_older = filters.before is not None, len(found) > PAGE
        found = found[:PAGE]
    return Page(
        found,
        filters.address(before=found[-1].pk) if found and more_older else None,
        filters.address(after=found[0].pk) if found and more_newer else None,
    )


def _searched(user_id: int, filters: Filters) -> Page:
    """Of the latest tasks, or of those before the place where another page has ended."""
    mine = Task.objects.owned_by(user_id)
    tasks = filters.matching(user_id)
    if filters.before is not None:
        mine, tasks = mine.filter(id__lt=filters.before), tasks.filter(id__lt=filters.before)
    floor = mine.order_by("-id").values_list("id", flat=True)[search.LOOK :].first()
    if floor is not None:
        tasks = tasks.filter(id__gt=floor)
    try:
        with search.bounded():
            found = list(tasks.order_by("-id")[: PAGE + 1])
    except search.TookTooLong:
        filters.took_too_long = True
        return Page([], None, None)
    if len(found) > PAGE:
        return Page(found[:PAGE], filters.address(before=found[PAGE - 1].pk), None)
    older = None if floor is None else filters.address(before=floor + 1)
    return Page(found, older, None, None if floor is None else search.LOOK)


def types() -> list[tuple[str, str]]:
    """Names and labels of what can be run."""
    return [(each.name, messages.of_type(each, each.label)) for each in registry.all()]


def _id(text: str | None) -> int | None:
    if text and text.isascii() and text.isdecimal() and len(text) < 20:
        return min(int(text), LARGEST_ID)
    return None


def ids(text: str, most: int = 200) -> list[int]:
    """``1,2,3``; what is no id is left out."""
    found = (_id(each) for each in text.split(",")[:most])
    return [each for each in found if each is not None]
