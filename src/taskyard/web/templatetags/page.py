"""What the templates of the page can say beyond Django's own words."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django import template
from django.conf import settings
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext

from taskyard.catalog.task_type import UnknownTaskType, registry
from taskyard.core import messages
from taskyard.core.models import Task
from taskyard.web import summaries
from taskyard.web.schema_form import exactly
from taskyard.web.task_list import Filters

register = template.Library()
UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


@register.filter
def at(mapping: Mapping[str, Any] | None, key: str) -> Any:
    """``errors|at:"username"``: what a mapping has there, or nothing."""
    return (mapping or {}).get(key)


@register.filter
def json(value: Any) -> str:
    """Readable JSON, every digit of it; escaped like any other text."""
    return exactly(value)


@register.filter
def type_label(name: str) -> str:
    """What a task type is called; its name where it is not known here."""
    try:
        task_type = registry.get(name)
        return messages.of_type(task_type, task_type.label)
    except UnknownTaskType:
        return name


@register.filter
def input_line(task: Task) -> str:
    """The input in one short line."""
    return summaries.of_input(task)


@register.filter
def outcome_line(task: Task) -> str:
    """The result in one short line, or what went wrong."""
    return summaries.of_outcome(task)


@register.filter
def without_status(filters: Filters) -> str:
    return filters.address(status=[])


@dataclass(frozen=True)
class Unknown:
    """Somebody with a session, when the database cannot be asked whose it is."""

    is_staff: bool = False
    is_superuser: bool = False

    def get_username(self) -> str:
        return ""


@register.simple_tag(takes_context=True)
def person(context: dict[str, Any]) -> Any:
    """Who looks at the page; None for somebody who has not signed in."""
    request = context.get("request")
    if request is None:
        return None
    if context.get("may_ask_database", True) or hasattr(request, "_cached_user"):
        user = getattr(request, "user", None)
        return user if user is not None and user.is_authenticated else None
    return Unknown() if settings.SESSION_COOKIE_NAME in request.COOKIES else None


@register.simple_tag
def units() -> str:
    """The units of time for the scripts of the page, from days to milliseconds."""
    return " ".join([*_units(), gettext("ms")])


@register.simple_tag
def ago(moment: datetime) -> SafeString:
    """How long ago it was, in one unit; the page goes on counting."""
    return _time(moment, "ago", _span((timezone.now() - moment).total_seconds(), parts=1))


@register.simple_tag
def lasted(start: datetime | None, end: datetime | None) -> SafeString:
    """How long something took, or has taken so far."""
    if start is None:
        return SafeString("")
    if end is not None:
        return format_html("<span>{}</span>", _span((end - start).total_seconds()))
    return _time(start, "span", _span((timezone.now() - start).total_seconds()))


@register.simple_tag
def clock(moment: datetime | None) -> SafeString:
    """The date and the time of day; in the person's own zone and manner where scripts run."""
    if moment is None:
        return SafeString("")
    return _time(moment, "clock", f"{moment:%Y-%m-%d %H:%M:%S} UTC")


@register.simple_tag
def time_of_day(moment: datetime, kind: str = "exact") -> SafeString:
    """``exact``, to the millisecond, or ``minute``."""
    text = f"{moment:%H:%M}" if kind == "minute" else f"{moment:%H:%M:%S.%f}"[:12]
    return _time(moment, kind, text)


def _time(moment: datetime, kind: str, text: str) -> SafeString:
    at = moment.isoformat()
    inner = format_html('<time datetime="{}">{}</time>', at, text)
    return format_html('<live-time data-kind="{}" datetime="{}">{}</live-time>', kind, at, inner)


def _span(seconds: float, parts: int = 2) -> str:
    """``3 min 5 s``; below ten seconds with a digit behind the point, below one in ms."""
    seconds = max(0.0, seconds)
    names = dict(zip((size for size, _ in UNITS), _units(), strict=True))
    if seconds < 1 and parts > 1:
        return f"{round(seconds * 1000)} {gettext('ms')}"
    if seconds < 10 and parts > 1:
        return f"{seconds:.1f} {names[1]}"
    left = int(seconds)
    said: list[str] = []
    for size, _ in UNITS:
        if left >= size or (size == 1 and not said):
            said.append(f"{left // size} {names[size]}")
            left %= size
        if len(said) == parts:
            break
    return " ".join(said)


def _units() -> list[str]:
    return [gettext("d"), gettext("h"), gettext("min"), gettext("s")]
