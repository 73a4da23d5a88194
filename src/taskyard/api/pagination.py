"""Pages: reading the parameters of a list, and the addresses of the neighbouring pages."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, Self, TypeVar, get_origin

from django.db.models import QuerySet
from django.http import QueryDict
from pydantic import Field, PrivateAttr, ValidationError
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.utils.urls import remove_query_param, replace_query_param

from taskyard.api.schemas import LARGEST_ID, StrictModel
from taskyard.catalog.schema import FieldError, InvalidInput, field_errors_of

Item = TypeVar("Item")
Rows = QuerySet[Any, Item] | Sequence[Item]


class PageQuery(StrictModel):
    """What every list takes; a list says itself what ``after`` counts."""

    page: int | None = Field(
        None, ge=1, le=LARGEST_ID, description="A number from 1; `last` is the last page"
    )
    page_size: int = Field(10, ge=1, le=100)
    after: int | None = Field(None, ge=0, le=LARGEST_ID)
    limit: int | None = Field(None, ge=1, le=100, description="The same as `page_size`")
    offset: int | None = Field(
        None, ge=0, le=LARGEST_ID, description="How many entries to leave out, in place of `page`"
    )
    _wants_last: bool = PrivateAttr(default=False)

    @property
    def size(self) -> int:
        return self.limit or self.page_size

    @property
    def start(self) -> int | None:
        """The first row, counted from 0, where rows are counted and not pages."""
        if self.offset is not None or self.limit is None:
            return self.offset
        return None if self.page or self._wants_last or self.after is not None else 0

    def of_last(self) -> Self:
        """The same, for the last page."""
        self._wants_last = True
        return self

    def number(self, last: int) -> int:
        """The number of the page, where ``last`` is that of the last one."""
        return last if self._wants_last else self.page or 1

    def contradictions(self) -> Iterable[FieldError]:
        """Two parameters that say the same thing differently."""
        page = self.page is not None or self._wants_last
        if self.after is not None and page:
            yield FieldError(("after",), "page_and_after", "Give either page or after, not both.")
        if self.offset is not None and (page or self.after is not None):
            message = "Give one of page, offset and after."
            yield FieldError(("offset",), "offset_and_other", message)
        if self.limit is not None and "page_size" in self.model_fields_set:
            message = "Give either page_size or limit, not both."
            yield FieldError(("limit",), "page_size_and_limit", message)


class HistoryQuery(PageQuery):
    """The parameters of what happened to a task, which only ever grows at its end."""

    page_size: int = Field(100, ge=1, le=1000)
    limit: int | None = Field(None, ge=1, le=1000, description="The same as `page_size`")
    after: int | None = Field(
        None, ge=0, le=1_000_000, description="How many entries have been read already; no count"
    )


Query = TypeVar("Query", bound=PageQuery)

INTEGERS = ("page", "page_size", "after", "limit", "offset")
MOMENTS = ("created_after", "created_before")
# What libraries add to every address: a number against caches, and the form of the answer.
IGNORED = "_"
FORMAT = "format"
LAST = "last"


# Parameters of a neighbour's address that are not this one's; None leaves one out.
Changes = dict[str, int | None]


@dataclass(frozen=True)
class Page(Generic[Item]):
    """One page of a list and the parameters of its neighbours' addresses."""

    count: int | None
    items: Sequence[Item]
    next: Changes | None
    previous: Changes | None


def read_query(shape: type[Query], parameters: QueryDict) -> Query:
    """Raises InvalidInput at each parameter that is wrong, unknown or given twice.

    A parameter without a value is as if it were not there.
    """
    field_errors: list[FieldError] = []
    values: dict[str, Any] = {}
    for name, given in parameters.lists():
        if name == IGNORED:
            continue
        try:
            filled = [str(value) for value in given if value]
            value = _read(shape, name, filled)
        except InvalidInput as error:
            field_errors += error.field_errors
        else:
            values |= {} if value is None else {name: value}
    wants_last = values.get("page") == LAST
    if wants_last:
        del values["page"]
    try:
        query = shape.model_validate(values)
    except ValidationError as error:
        # A parameter has no inside: what is wrong with one of its values is wrong with it.
        field_errors += (
            replace(field_error, path=field_error.path[:1])
            for field_error in field_errors_of(error, values)
        )
        raise InvalidInput(field_errors) from None
    query = query.of_last() if wants_last else query
    field_errors += query.contradictions()
    if field_errors:
        raise InvalidInput(field_errors)
    return query


def numbered(rows: Rows[Item], query: PageQuery, count: int | None = None) -> Page[Item]:
    """The page of this number, or from this row on; NotFound if the list has no such page.

    ``count`` is how many rows there are, if the caller knows it.
    """
    if count is None:
        count = rows.count() if isinstance(rows, QuerySet) else len(rows)
    if query.start is not None:
        return _from(rows, query.start, query.size, count)
    size = query.size
    last = max(1, -(-count // size))
    number = query.number(last)
    if number > last:
        raise NotFound
    start = (number - 1) * size
    # The first page has no number in its address, so that it is one address.
    before: Changes = {"page": number - 1 if number > 2 else None}
    return Page(
        count,
        list(rows[start : start + size]) if count else [],
        {"page": number + 1} if number < last else None,
        before if number > 1 else None,
    )


def _from(rows: Rows[Item], start: int, size: int, count: int) -> Page[Item]:
    """Rows from one on, as DRF's LimitOffsetPagination counts: beyond the end there are none."""
    more: Changes = {"limit": size, "offset": start + size}
    before: Changes = {"limit": size, "offset": start - size if start > size else None}
    return Page(
        count,
        list(rows[start : start + size]) if start < count else [],
        more if start + size < count else None,
        before if start > 0 else None,
    )


def growing(rows: Rows[Item], query: HistoryQuery) -> Page[Item]:
    """A page by number, or what came behind the entries that were read already."""
    if query.after is None:
        return numbered(rows, query)
    behind = query.after + query.size
    found = list(rows[query.after : behind + 1])
    more: Changes | None = {"after": behind} if len(found) > query.size else None
    return Page(None, found[: query.size], more, None)


def envelope(
    request: Request, page: Page[Item], serialize_task: Callable[[Item], dict[str, Any]]
) -> dict[str, Any]:
    """The answer that carries a page."""
    here = request.build_absolute_uri()
    return {
        "count": page.count,
        "next": _address(here, page.next),
        "previous": _address(here, page.previous),
        "results": [serialize_task(item) for item in page.items],
    }


def _read(shape: type[PageQuery], name: str, filled: list[str]) -> Any:
    """What a parameter says; None for nothing. Raises InvalidInput."""
    if name == FORMAT and filled not in ([], ["json"]):
        raise InvalidInput([FieldError((name,), "literal_error", "", {"expected": "'json'"})])
    if name == FORMAT:
        return None
    known = shape.model_fields.get(name)
    if known is None:
        raise _wrong(_shown(name), "unknown_parameter", "This parameter is not known.")
    if not filled:
        return None
    if any("\0" in value for value in filled):
        raise _wrong(name, "null_characters_not_allowed", "Null characters are not allowed.")
    if get_origin(known.annotation) is list:
        parts = (part.strip() for value in filled for part in value.split(","))
        return [part for part in parts if part] or None
    if len(filled) > 1:
        raise _wrong(name, "repeated_parameter", "This parameter may be given once.")
    return _typed(name, filled[0])


def _wrong(name: str, code: str, message: str) -> InvalidInput:
    return InvalidInput([FieldError((name,), code, message)])


def _typed(name: str, value: str) -> Any:
    if name in INTEGERS and re.fullmatch(r"-?[0-9]{1,30}", value):
        return int(value)
    if name in MOMENTS:
        # "+" in an address means a space unless it is escaped, which people forget.
        return re.sub(r" (\d\d:?\d\d)$", r"+\1", value)
    return value


def _shown(name: str) -> str:
    return name.replace("\0", "�")[:100]


def _address(here: str, changes: Changes | None) -> str | None:
    if changes is None:
        return None
    for name, value in changes.items():
        here = (
            remove_query_param(here, name)
            if value is None
            else replace_query_param(here, name, value)
        )
    return str(here)
