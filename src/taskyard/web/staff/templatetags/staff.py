"""How the pages for staff say numbers and times."""

from datetime import datetime
from typing import Any

from django import template
from django.utils import timezone
from django.utils.formats import number_format
from django.utils.html import format_html
from django.utils.translation import gettext as _

from taskyard.web.templatetags import page

register = template.Library()

MINUTE, HOUR, DAY = 60, 3600, 86400


@register.filter
def many(value: Any) -> str:
    """A number with its thousands apart."""
    return number_format(value, force_grouping=True) if isinstance(value, int) else ""


@register.filter
def count(value: int) -> str:
    """A number in a table, where nothing should not catch the eye."""
    return many(value) if value else format_html('<span class="zero">{}</span>', 0)


@register.filter
def duration(seconds: Any) -> str:
    """Seconds as two units at most; nothing for what is no number."""
    if not isinstance(seconds, int | float):
        return ""
    total = float(seconds)
    if total < 1:
        return _("%(n)s ms") % {"n": round(total * 1000)}
    if total < 9.95:
        return _("%(n)s s") % {"n": number_format(round(total, 1))}
    whole = round(total)
    if whole < MINUTE:
        return _("%(n)s s") % {"n": whole}
    if whole < HOUR:
        return _("%(m)s min %(s)s s") % {"m": whole // MINUTE, "s": whole % MINUTE}
    if whole < DAY:
        return _("%(h)s h %(m)s min") % {"h": whole // HOUR, "m": whole % HOUR // MINUTE}
    return _("%(d)s d %(h)s h") % {"d": whole // DAY, "h": whole % DAY // HOUR}


@register.filter
def age(moment: datetime | None) -> str:
    """How long ago it was."""
    if moment is None:
        return ""
    return duration(max(0.0, (timezone.now() - moment).total_seconds()))


@register.filter
def rate(per_minute: float) -> str:
    """A number a minute."""
    if per_minute >= 10:
        return number_format(round(per_minute), force_grouping=True)
    return number_format(round(per_minute, 1 if per_minute >= 1 else 2))


@register.filter
def number(value: float) -> str:
    """For attributes of SVG, which know no comma."""
    return f"{value:g}"


register.simple_tag(page.clock, name="moment")
register.simple_tag(page.time_of_day)
