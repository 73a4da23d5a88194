"""Pagination: the query parameters of a list, its pages, and the links between them."""

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

from taskyard.api.schemas import StrictModel
from taskyard.catalog.schema import FieldError, InvalidInput, field_errors_of
from taskyard.core.types import LARGEST_ID

Item = TypeVar("Item")
Rows = QuerySet[Any, Item] | Sequence[Item]


class PageQuery(StrictModel):
    """The query parameters of every list. The meaning of ``after`` depends on the list."""

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
        """The index of the first row with ``offset`` or ``limit``; None with page numbers."""
        if self.offset is not None or self.limit is None:
            return self.offset
        return None if self.page or self._wants_last or self.after is not None else 0

    def for_last_page(self) -> Self:
        """Make this the query of the last page."""
        self._wants_last = True
        return self

    def number(self, last: int) -> int:
        """The number of the page, if ``last`` is the number of the last page."""
        return last if self._wants_last else self.page or 1

    def contradictions(self) -> Iterable[FieldError]:
        """An error for each pair of parameters that exclude each other."""
        has_page = self.page is not None or self._wants_last
        if self.after is not None and has_page:
            yield FieldError(("after",), "page_and_after", "Give either page or after, not both.")
        if self.offset is not None and (has_page or self.after is not None):
            message = "Give one of page, offset and after."
            yield FieldError(("offset",), "offset_and_other", message)
        if self.limit is not None and "page_size" in self.model_fields_set:
            message = "Give either page_size or limit, not both."
            yield FieldError(("limit",), "page_size_and_limit", message)


class HistoryQuery(PageQuery):
    """The query parameters of a task's attempts and log, which only grow at their end."""

    page_size: int = Field(100, ge=1, le=1000)
    limit: int | None = Field(None, ge=1, le=1000, description="The same as `page_size`")
    after: int | None = Field(
        None, ge=0, le=1_000_000, description="How many entries have been read already; no count"
    )


Query = TypeVar("Query", bound=PageQuery)

INTEGERS = ("page", "page_size", "after", "limit", "offset", "task")
MOMENTS = ("created_after", "created_before")
# Libraries add these to every URL: a number that defeats caches, and DRF's response format.
IGNORED = "_"
FORMAT = "format"
LAST = "last"

# The parameters in which the link to another page differs; None removes one.
LinkParams = dict[str, int | None]


@dataclass(frozen=True)
class Page(Generic[Item]):
    """One page of a list, with the parameters of the links to its neighbours."""

    count: int | None
    items: Sequence[Item]
    next: LinkParams | None
    previous: LinkParams | None


def parse_query(model: type[Query], parameters: QueryDict) -> Query:
    """Parse query parameters. Raises InvalidInput for wrong, unknown and repeated ones.

    A parameter without a value is treated like an absent one.
    """
    field_errors: list[FieldError] = []
    values: dict[str, Any] = {}
    for name, raw_values in parameters.lists():
        if name == IGNORED:
            continue
        try:
            texts = [str(value) for value in raw_values if value]
            value = _parse_parameter(model, name, texts)
        except InvalidInput as error:
            field_errors += error.field_errors
        else:
            values |= {} if value is None else {name: value}
    wants_last = values.get("page") == LAST
    if wants_last:
        del values["page"]
    try:
        query = model.model_validate(values)
    except ValidationError as error:
        # An error in one value of a list is reported for the parameter.
        field_errors += (
            replace(field_error, path=field_error.path[:1])
            for field_error in field_errors_of(error, values)
        )
        raise InvalidInput(field_errors) from None
    query = query.for_last_page() if wants_last else query
    field_errors += query.contradictions()
    if field_errors:
        raise InvalidInput(field_errors)
    return query


def page_by_number(rows: Rows[Item], query: PageQuery, count: int | None = None) -> Page[Item]:
    """The page by ``page`` or ``offset``. Raises NotFound if the list has no page of this number.

    Without ``count`` the rows are counted.
    """
    if count is None:
        count = rows.count() if isinstance(rows, QuerySet) else len(rows)
    if query.start is not None:
        return _page_from_row(rows, query.start, query.size, count)
    size = query.size
    last = max(1, -(-count // size))
    number = query.number(last)
    if number > last:
        raise NotFound
    start = (number - 1) * size
    # The link to the first page has no number, so that the first page has one URL.
    previous: LinkParams = {"page": number - 1 if number > 2 else None}
    return Page(
        count,
        list(rows[start : start + size]) if count else [],
        {"page": number + 1} if number < last else None,
        previous if number > 1 else None,
    )


def _page_from_row(rows: Rows[Item], start: int, size: int, count: int) -> Page[Item]:
    """The page by offset, as DRF's LimitOffsetPagination makes it: empty beyond the end."""
    following: LinkParams = {"limit": size, "offset": start + size}
    previous: LinkParams = {"limit": size, "offset": start - size if start > size else None}
    return Page(
        count,
        list(rows[start : start + size]) if start < count else [],
        following if start + size < count else None,
        previous if start > 0 else None,
    )


def page_by_offset(rows: Rows[Item], query: HistoryQuery) -> Page[Item]:
    """The page behind the first ``after`` entries, without a count; or else by number."""
    if query.after is None:
        return page_by_number(rows, query)
    end = query.after + query.size
    items = list(rows[query.after : end + 1])
    following: LinkParams | None = {"after": end} if len(items) > query.size else None
    return Page(None, items[: query.size], following, None)


def serialize_page(
    request: Request, page: Page[Item], serialize: Callable[[Item], dict[str, Any]]
) -> dict[str, Any]:
    """The body of the response with a page."""
    url = request.build_absolute_uri()
    return {
        "count": page.count,
        "next": _link(url, page.next),
        "previous": _link(url, page.previous),
        "results": [serialize(item) for item in page.items],
    }


def _parse_parameter(model: type[PageQuery], name: str, texts: list[str]) -> Any:
    """The value of a parameter; None if it is empty or ignored. Raises InvalidInput."""
    if name == FORMAT and texts not in ([], ["json"]):
        raise InvalidInput([FieldError((name,), "literal_error", "", {"expected": "'json'"})])
    if name == FORMAT:
        return None
    field = model.model_fields.get(name)
    if field is None:
        raise _invalid(_shown_name(name), "unknown_parameter", "This parameter is not known.")
    if not texts:
        return None
    if any("\0" in text for text in texts):
        raise _invalid(name, "null_characters_not_allowed", "Null characters are not allowed.")
    if get_origin(field.annotation) is list:
        parts = (part.strip() for text in texts for part in text.split(","))
        return [part for part in parts if part] or None
    if len(texts) > 1:
        raise _invalid(name, "repeated_parameter", "This parameter may be given once.")
    return _convert(name, texts[0])


def _invalid(name: str, code: str, message: str) -> InvalidInput:
    return InvalidInput([FieldError((name,), code, message)])


def _convert(name: str, value: str) -> Any:
    """An integer, or a text that pydantic can parse."""
    if name in INTEGERS and re.fullmatch(r"-?[0-9]{1,30}", value):
        return int(value)
    if name in MOMENTS:
        # An unescaped "+" in a URL means a space.
        return re.sub(r" (\d\d:?\d\d)$", r"+\1", value)
    return value


def _shown_name(name: str) -> str:
    return name.replace("\0", "�")[:100]


def _link(url: str, params: LinkParams | None) -> str | None:
    if params is None:
        return None
    for name, value in params.items():
        url = (
            remove_query_param(url, name)
            if value is None
            else replace_query_param(url, name, value)
        )
    return str(url)
