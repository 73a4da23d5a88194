"""What the templates of the page can say beyond Django's own words."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django import template
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext

from taskyard.catalog.task_type import UnknownTaskType, registry
from taskyard.core import messages
from taskyard.core.models import Task
from taskyard.dashboard import summaries
from taskyard.dashboard.form import exactly
from taskyard.dashboard.listing import Filters

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
def clock(moment: datetime) -> SafeString:
    """The time of day; with its date, in the person's own zone where scripts run."""
    return _time(moment, "clock", f"{moment:%d.%m.%Y %H:%M:%S} UTC")


def _time(moment: datetime, kind: str, text: str) -> SafeString:
    return format_html(
        '<live-time data-kind="{}" datetime="{}">{}</live-time>', kind, moment.isoformat(), text
    )


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
