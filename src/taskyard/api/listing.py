"""Lists: what to filter by, in which order, which page."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from django.db.models import BooleanField, F, Func, QuerySet, Value
from django.http import QueryDict
from pydantic import Field, ValidationError
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.utils.urls import remove_query_param, replace_query_param

from taskyard.api.representation import represent
from taskyard.api.shapes import LARGEST_ID, Moment, Shape
from taskyard.catalog.schema import Flaw, InvalidInput, flaws_of
from taskyard.catalog.task_type import UnknownTaskType, registry
from taskyard.core.models import Task

Order = Literal["id", "-id", "created_at", "-created_at", "finished_at", "-finished_at"]


class TaskQuery(Shape):
    """The parameters of a list of tasks, as they stand in the address."""

    page: int | None = Field(None, ge=1, le=LARGEST_ID)
    page_size: int = Field(10, ge=1, le=100)
    after: int | None = Field(
        None, ge=0, le=LARGEST_ID, description="Tasks behind this id; no count, fast at any depth"
    )
    status: list[Literal["pending", "in_progress", "completed", "error", "cancelled"]] = []
    task_type: str | None = None
    tag: str | None = Field(None, min_length=1, max_length=50)
    created_after: Moment | None = Field(None, description="At this moment or later")
    created_before: Moment | None = Field(None, description="At this moment or earlier")
    ordering: Order = Field("id", description="Ties are broken by id")


INTEGERS = ("page", "page_size", "after")
MOMENTS = ("created_after", "created_before")


class HasTag(Func):
    """Whether a list in JSON holds a string; the two databases ask differently."""

    output_field = BooleanField()
    arity = 2

    def as_postgresql(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        return super().as_sql(
            compiler, connection, template="(%(expressions)s)", arg_joiner=" ? ", **extra
        )

    def as_sqlite(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        column, column_params = compiler.compile(self.source_expressions[0])
        tag, tag_params = compiler.compile(self.source_expressions[1])
        sql = f"EXISTS (SELECT 1 FROM json_each({column}) WHERE value = {tag})"  # noqa: S608
        return sql, (*column_params, *tag_params)


@dataclass(frozen=True)
class Page:
    """One page of a list and the parameters of its neighbours' addresses."""

    count: int | None
    tasks: Sequence[Task]
    next: dict[str, int] | None
    previous: dict[str, int | None] | None


def task_list(request: Request, user_id: int) -> dict[str, Any]:
    """The answer to a list of the user's tasks. Raises InvalidInput, NotFound."""
    query = parse(request.query_params)
    page = _page(_matching(query, user_id), query)
    here = request.build_absolute_uri()
    return {
        "count": page.count,
        "next": _address(here, page.next),
        "previous": _address(here, page.previous),
        "results": [represent(task) for task in page.tasks],
    }


def parse(parameters: QueryDict) -> TaskQuery:
    """Raises InvalidInput at the parameter that is wrong, unknown or given twice."""
    flaws = []
    values: dict[str, Any] = {}
    for name, given in parameters.lists():
        if name not in TaskQuery.model_fields:
            flaws.append(Flaw((_shown(name),), "unknown_parameter", "This parameter is not known."))
        elif any(not _clean(value) for value in given):
            message = "Null characters are not allowed."
            flaws.append(Flaw((name,), "null_characters_not_allowed", message))
        elif name == "status":
            values[name] = given
        elif len(given) > 1:
            message = "This parameter may be given once."
            flaws.append(Flaw((name,), "repeated_parameter", message))
        else:
            values[name] = _typed(name, str(given[0]))
    try:
        query = TaskQuery.model_validate(values)
    except ValidationError as error:
        # A parameter has no inside: what is wrong with one of its values is wrong with it.
        flaws += (replace(flaw, path=flaw.path[:1]) for flaw in flaws_of(error, values))
        raise InvalidInput(flaws) from None
    flaws += _contradictions(query)
    if flaws:
        raise InvalidInput(flaws)
    return query


def _typed(name: str, value: str) -> Any:
    if name in INTEGERS and re.fullmatch(r"-?[0-9]{1,30}", value):
        return int(value)
    if name in MOMENTS:
        # "+" in an address means a space unless it is escaped, which people forget.
        return re.sub(r" (\d\d:?\d\d)$", r"+\1", value)
    return value


def _clean(value: object) -> bool:
    return "\0" not in str(value)


def _shown(name: str) -> str:
    return name.replace("\0", "�")[:100]


def _contradictions(query: TaskQuery) -> list[Flaw]:
    flaws = []
    if query.task_type is not None:
        try:
            registry.get(query.task_type)
        except UnknownTaskType:
            flaws.append(Flaw(("task_type",), "unknown_task_type", "There is no such task type."))
    if query.after is not None and query.page is not None:
        message = "Give either page or after, not both."
        flaws.append(Flaw(("after",), "page_and_after", message))
    if query.after is not None and query.ordering not in ("id", "-id"):
        message = "With after, the order can only be id or -id."
        flaws.append(Flaw(("ordering",), "ordering_and_after", message))
    return flaws


def _matching(query: TaskQuery, user_id: int) -> QuerySet[Task]:
    tasks: QuerySet[Task] = Task.objects.visible_to(user_id)
    if query.status:
        tasks = tasks.filter(status__in=set(query.status))
    if query.task_type is not None:
        tasks = tasks.filter(task_type=query.task_type)
    if query.tag is not None:
        tasks = tasks.filter(HasTag(F("tags"), Value(query.tag)))
    if query.created_after is not None:
        tasks = tasks.filter(created_at__gte=query.created_after)
    if query.created_before is not None:
        tasks = tasks.filter(created_at__lte=query.created_before)
    return tasks.defer("checkpoint").order_by(*_order(query.ordering))


def _order(ordering: Order) -> list[Any]:
    descending, name = ordering.startswith("-"), ordering.lstrip("-")
    if name == "id":
        return [ordering]
    # Unfinished tasks come last either way, on both databases.
    field = F(name).desc(nulls_last=True) if descending else F(name).asc(nulls_last=True)
    return [field, "-id" if descending else "id"]


def _page(tasks: QuerySet[Task], query: TaskQuery) -> Page:
    size = query.page_size
    if query.after is not None:
        backwards = query.ordering == "-id"
        beyond = tasks.filter(**{"id__lt" if backwards else "id__gt": query.after})
        found = list(beyond[: size + 1])
        more = {"after": found[size - 1].id} if len(found) > size else None
        return Page(None, found[:size], more, None)
    number = query.page or 1
    count = tasks.count()
    last = max(1, -(-count // size))
    if number > last:
        raise NotFound
    start = (number - 1) * size
    # The first page has no number in its address, so that it is one address.
    before: dict[str, int | None] = {"page": number - 1 if number > 2 else None}
    return Page(
        count,
        list(tasks[start : start + size]) if count else [],
        {"page": number + 1} if number < last else None,
        before if number > 1 else None,
    )


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
