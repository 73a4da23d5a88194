"""What the templates of the page can say beyond Django's own words."""

from collections.abc import Mapping
from typing import Any

from django import template

from taskyard.dashboard.form import exactly

register = template.Library()


@register.filter
def at(mapping: Mapping[str, Any] | None, key: str) -> Any:
    """``errors|at:"username"``: what a mapping has there, or nothing."""
    return (mapping or {}).get(key)


@register.filter
def json(value: Any) -> str:
    """Readable JSON, every digit of it; escaped like any other text."""
    return exactly(value)
