"""Template tags and filters of the staff pages: numbers and times."""

from datetime import datetime
from typing import Any

from django import template
from django.template import Context
from django.utils import timezone
from django.utils.formats import number_format
from django.utils.html import format_html

from taskyard.core.roles import Role, role_of
from taskyard.web.duration_text import format_duration
from taskyard.web.templatetags import taskyard_page

register = template.Library()


@register.filter
def many(value: Any) -> str:
    """A whole number with thousands separators; "" for other values."""
    return number_format(value, force_grouping=True) if isinstance(value, int) else ""


@register.filter
def count(value: int) -> str:
    """A number in a table; zero is muted."""
    return many(value) if value else format_html('<span class="zero">{}</span>', 0)


@register.filter
def duration(seconds: Any) -> str:
    """Seconds as a duration; "" for values that are not a number."""
    return format_duration(seconds) if isinstance(seconds, int | float) else ""


@register.filter
def age(moment: datetime | None) -> str:
    """The time since a moment."""
    return "" if moment is None else format_duration((timezone.now() - moment).total_seconds())


@register.filter
def rate(per_minute: float) -> str:
    """A rate per minute, with fewer digits the larger it is."""
    if per_minute >= 10:
        return number_format(round(per_minute), force_grouping=True)
    return number_format(round(per_minute, 1 if per_minute >= 1 else 2))


@register.filter
def number(value: float) -> str:
    """A number for an SVG attribute: never localized, since a comma is invalid there."""
    return f"{value:g}"


@register.simple_tag(takes_context=True)
def operates(context: Context) -> bool:
    """Whether the user may change what the page shows."""
    request = taskyard_page.page_request(context)
    return request is not None and role_of(request.user) is Role.OPERATOR


register.simple_tag(taskyard_page.clock)
register.simple_tag(taskyard_page.time_of_day)
