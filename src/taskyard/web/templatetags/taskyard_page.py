"""Template tags and filters of the user's pages."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django import template
from django.conf import settings
from django.contrib.messages import get_messages as messages_of
from django.contrib.messages.constants import DEFAULT_TAGS
from django.http import HttpRequest
from django.shortcuts import resolve_url
from django.template import Context
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from taskyard.catalog.files import FORMAT
from taskyard.catalog.task_type import UnknownTaskType, registry
from taskyard.core import messages, roles
from taskyard.core.models import Task
from taskyard.web import project, summaries
from taskyard.web.duration_text import format_duration, unit_names
from taskyard.web.schema_form import pretty_json
from taskyard.web.task_list import Filters

register = template.Library()


@register.filter
def get_item(mapping: Mapping[str, Any] | None, key: str) -> Any:
    """The value of a key, or None: ``errors|get_item:"username"``."""
    return (mapping or {}).get(key)


@register.filter
def json(value: Any) -> str:
    """Indented JSON without loss of digits; the template escapes it."""
    return pretty_json(value)


@register.filter
def type_label(name: str) -> str:
    """The label of a task type; its name if the type is not installed."""
    try:
        task_type = registry.get(name)
        return messages.of_type(task_type, task_type.label)
    except UnknownTaskType:
        return name


@register.filter
def input_line(task: Task) -> str:
    """A one-line summary of the input."""
    return summaries.input_summary(task)


@register.filter
def outcome_line(task: Task) -> str:
    """A one-line summary of the result or the error."""
    return summaries.outcome_summary(task)


@register.filter
def result_file(task: Task) -> int | None:
    """The id of the file that is the result; None if the result is no file."""
    if not project.has_files():
        return None
    try:
        schema = registry.get(task.task_type).result_schema
    except UnknownTaskType:
        return None
    is_file = schema.get("format") == FORMAT and isinstance(task.result, int)
    return task.result if is_file else None


@register.filter
def without_status(filters: Filters) -> str:
    """The query string of the filters without a status."""
    return filters.query_string(status=[])


@dataclass(frozen=True)
class UnknownUser:
    """Stands for the signed-in user if the page must not query the database."""

    is_staff: bool = False
    is_superuser: bool = False

    def get_username(self) -> str:
        return ""


@register.simple_tag(takes_context=True)
def page_request(context: Context) -> HttpRequest | None:
    """The request, also if the project has no context processor for it."""
    return getattr(context, "request", None)


@register.simple_tag(takes_context=True)
def person(context: Context) -> Any:
    """The signed-in user; None if no user has signed in."""
    request = page_request(context)
    if request is None:
        return None
    if context.get("may_ask_database", True) or hasattr(request, "_cached_user"):
        user = getattr(request, "user", None)
        return user if user is not None and user.is_authenticated else None
    return UnknownUser() if settings.SESSION_COOKIE_NAME in request.COOKIES else None


@register.simple_tag(takes_context=True)
def sees_staff_pages(context: Context) -> bool:
    """Whether the page has links to those of staff; without a query if it must not have one."""
    user = person(context)
    if not context.get("may_ask_database", True):
        return bool(getattr(user, "is_staff", False))
    return user is not None and roles.sees_links(user)


@register.simple_tag(takes_context=True)
def theme(context: Context) -> str:
    """The theme that the user has chosen; "" for that of the system."""
    request = page_request(context)
    return "" if request is None else request.COOKIES.get(project.THEME_COOKIE, "")


@register.simple_tag(takes_context=True)
def page_notes(context: Context) -> list[tuple[str, str]]:
    """The kind and the text of each of Django's messages, also without its context processor."""
    request = page_request(context)
    notes = [] if request is None else messages_of(request)
    return [(DEFAULT_TAGS.get(note.level, ""), str(note)) for note in notes]


@register.simple_tag
def offered_languages() -> list[tuple[str, str]]:
    """The languages to choose from, each with its name."""
    return project.offered_languages()


@register.simple_tag
def login_address() -> str:
    """The login page of the project."""
    return resolve_url(settings.LOGIN_URL)


@register.simple_tag
def units() -> str:
    """The names of the units of time for page.js, from days to milliseconds."""
    return " ".join(unit_names())


@register.simple_tag
def ago(moment: datetime) -> SafeString:
    """The time since a moment, in one unit; page.js keeps it current."""
    seconds = (timezone.now() - moment).total_seconds()
    return _live_time(moment, "ago", format_duration(seconds, parts=1))


@register.simple_tag
def lasted(start: datetime | None, end: datetime | None) -> SafeString:
    """The time from start to end, or until now; page.js keeps the latter current."""
    if start is None:
        return SafeString("")
    text = format_duration(((end or timezone.now()) - start).total_seconds())
    return _live_time(start, "span", text) if end is None else format_html("<span>{}</span>", text)


@register.simple_tag
def clock(moment: datetime | None) -> SafeString:
    """Date and time in UTC; page.js shows them in the browser's time zone and format."""
    if moment is None:
        return SafeString("")
    return _live_time(moment, "clock", f"{moment:%Y-%m-%d %H:%M:%S} UTC")


@register.simple_tag
def time_of_day(moment: datetime, kind: str = "exact") -> SafeString:
    """The time of day: ``exact`` to the millisecond, or ``minute``."""
    text = f"{moment:%H:%M}" if kind == "minute" else f"{moment:%H:%M:%S.%f}"[:12]
    return _live_time(moment, kind, text)


def _live_time(moment: datetime, kind: str, text: str) -> SafeString:
    at = moment.isoformat()
    inner = format_html('<time datetime="{}">{}</time>', at, text)
    return format_html('<live-time data-kind="{}" datetime="{}">{}</live-time>', kind, at, inner)
