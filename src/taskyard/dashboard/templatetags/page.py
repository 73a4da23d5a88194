"""What the templates of the page can say beyond Django's own words."""

from collections.abc import Mapping
from typing import Any

from django import template

register = template.Library()


@register.filter
def at(mapping: Mapping[str, Any] | None, key: str) -> Any:
    """``errors|at:"username"``: what a mapping has there, or nothing."""
    return (mapping or {}).get(key)
