"""Pages: reading the parameters of a list, and the addresses of the neighbouring pages."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar, get_origin

from django.db.models import QuerySet
from django.http import QueryDict
from pydantic import Field, ValidationError
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.utils.urls import remove_query_param, replace_query_param

from taskyard.api.shapes import LARGEST_ID, Shape
from taskyard.catalog.schema import Flaw, InvalidInput, flaws_of

Item = TypeVar("Item")
Rows = QuerySet[Any, Item] | Sequence[Item]


class PageQuery(Shape):
    """What every list takes; a list says itself what ``after`` counts."""

    page: int | None = Field(None, ge=1, le=LARGEST_ID)
    page_size: int = Field(10, ge=1, le=100)
    after: int | None = Field(None, ge=0, le=LARGEST_ID)


class HistoryQuery(PageQuery):
    """The parameters of what happened to a task, which only ever grows at its end."""

    page_size: int = Field(100, ge=1, le=1000)
    after: int | None = Field(
        None, ge=0, le=1_000_000, description="How many entries have been read already; no count"
    )


Query = TypeVar("Query", bound=PageQuery)

INTEGERS = ("page", "page_size", "after")
MOMENTS = ("created_after", "created_before")


@dataclass(frozen=True)
class Page(Generic[Item]):
    """One page of a list and the parameters of its neighbours' addresses."""

    count: int | None
    items: Sequence[Item]
    next: dict[str, int] | None
    previous: dict[str, int | None] | None


def read_query(shape: type[Query], parameters: QueryDict) -> Query:
    """Raises InvalidInput at the parameter that is wrong, unknown or given twice."""
    flaws = []
    values: dict[str, Any] = {}
    for name, given in parameters.lists():
        known = shape.model_fields.get(name)
        if known is None:
            flaws.append(Flaw((_shown(name),), "unknown_parameter", "This parameter is not known."))
        elif any("\0" in str(value) for value in given):
            message = "Null characters are not allowed."
            flaws.append(Flaw((name,), "null_characters_not_allowed", message))
        elif get_origin(known.annotation) is list:
            values[name] = given
        elif len(given) > 1:
            message = "This parameter may be given once."
            flaws.append(Flaw((name,), "repeated_parameter", message))
        else:
            values[name] = _typed(name, str(given[0]))
    try:
        query = shape.model_validate(values)
    except ValidationError as error:
        # A parameter has no inside: what is wrong with one of its values is wrong with it.
        flaws += (replace(flaw, path=flaw.path[:1]) for flaw in flaws_of(error, values))
        raise InvalidInput(flaws) from None
    if query.after is not None and query.page is not None:
        message = "Give either page or after, not both."
        flaws.append(Flaw(("after",), "page_and_after", message))
    if flaws:
        raise InvalidInput(flaws)
    return query


def numbered(rows: Rows[Item], query: PageQuery, count: int | None = None) -> Page[Item]:
    """The page of this number; raises NotFound where the list is shorter.

    ``count`` is how many rows there are, for whoever knows it.
    """
    number, size = query.page or 1, query.page_size
    if count is None:
        count = rows.count() if isinstance(rows, QuerySet) else len(rows)
    last = max(1, -(-count // size))
    if number > last:
        raise NotFound
    start = (number - 1) * size
    # The first page has no number in its address, so that it is one address.
    before: dict[str, int | None] = {"page": number - 1 if number > 2 else None}
    return Page(
        count,
        list(rows[start : start + size]) if count else [],
        {"page": number + 1} if number < last else None,
        before if number > 1 else None,
    )


def growing(rows: Rows[Item], query: HistoryQuery) -> Page[Item]:
    """A page by number, or what came behind the entries that were read already."""
    if query.after is None:
        return numbered(rows, query)
    behind = query.after + query.page_size
    found = list(rows[query.after : behind + 1])
    more = {"after": behind} if len(found) > query.page_size else None
    return Page(None, found[: query.page_size], more, None)


def envelope(
    request: Request, page: Page[Item], represent: Callable[[Item], dict[str, Any]]
) -> dict[str, Any]:
    """The answer that carries a page."""
    here = request.build_absolute_uri()
    return {
        "count": page.count,
        "next": _address(here, page.next),
        "previous": _address(here, page.previous),
        "results": [represent(item) for item in page.items],
    }


def _typed(name: str, value: str) -> Any:
    if name in INTEGERS and re.fullmatch(r"-?[0-9]{1,30}", value):
        return int(value)
    if name in MOMENTS:
        # "+" in an address means a space unless it is escaped, which people forget.
        return re.sub(r" (\d\d:?\d\d)$", r"+\1", value)
    return value


def _shown(name: str) -> str:
    return name.replace("\0", "�")[:100]


def _address(here: str, changes: dict[str, int] | dict[str, int | None] | None) -> str | None:
    if changes is None:
        return None
    for name, value in changes.items():
        here = (
            remove_query_param(here, name)
            if value is None
            else replace_query_param(here, name, value)
        )
    return str(here)
