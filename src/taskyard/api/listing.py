"""The list of tasks: its filters, order and pages."""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

from django.db.models import F, QuerySet
from pydantic import Field
from rest_framework.request import Request

from taskyard.api import selection
from taskyard.api.pagination import (
    LinkParams,
    Page,
    PageQuery,
    page_by_number,
    parse_query,
    serialize_page,
)
from taskyard.api.schemas import Moment
from taskyard.api.serialize import load_files
from taskyard.catalog.schema import FieldError, InvalidInput
from taskyard.catalog.task_type import UnknownTaskType, registry
from taskyard.core.models import Quota, Task
from taskyard.core.querysets import TaskQuerySet
from taskyard.core.search import Criteria
from taskyard.core.states import ACTIVE, Status
from taskyard.core.types import LARGEST_ID, UserId

Order = Literal["id", "-id", "created_at", "-created_at", "finished_at", "-finished_at"]


class TaskQuery(PageQuery):
    """The query parameters of a list of tasks."""

    after: int | None = Field(
        None, ge=0, le=LARGEST_ID, description="Tasks behind this id; no count, fast at any depth"
    )
    status: list[Literal["pending", "in_progress", "completed", "error", "cancelled"]] = []
    task_type: str | None = None
    tag: str | None = Field(None, max_length=50)
    created_after: Moment | None = Field(None, description="At this moment or later")
    created_before: Moment | None = Field(None, description="At this moment or earlier")
    subject: str | None = Field(
        None, description="For a service account: the same as the header On-Behalf-Of"
    )
    fields: list[selection.Name] = []
    ordering: Order = Field("id", description="Ties are broken by id")


def task_list(
    request: Request, owner_of: Callable[[str | None], tuple[UserId, str | None]]
) -> dict[str, Any]:
    """The body of a list of tasks. Raises InvalidInput, NotFound, and what ``owner_of`` raises.

    ``owner_of`` returns whose tasks are listed, for the value of the filter ``subject``, and the
    subject that the list shows.
    """
    query = parse_query(TaskQuery, request.query_params)
    if field_errors := _contradictions(query):
        raise InvalidInput(field_errors)
    user_id, subject = owner_of(query.subject)
    tasks = selection.for_list(_filter(query, user_id), query.fields)
    page = _page(tasks, query, partial(_known_count, query, user_id))
    if not query.fields or "files" in query.fields:
        load_files(page.items)
    return serialize_page(
        request, page, lambda task: selection.serialize_listed(task, query.fields, subject)
    )


def _contradictions(query: TaskQuery) -> list[FieldError]:
    field_errors = []
    if query.task_type is not None:
        try:
            registry.get(query.task_type)
        except UnknownTaskType:
            field_errors.append(
                FieldError(("task_type",), "unknown_task_type", "There is no such task type.")
            )
    if query.after is not None and query.ordering not in ("id", "-id"):
        message = "With after, the order can only be id or -id."
        field_errors.append(FieldError(("ordering",), "ordering_and_after", message))
    return field_errors


def _filter(query: TaskQuery, user_id: UserId) -> TaskQuerySet:
    criteria = Criteria(
        statuses=query.status,
        task_type=query.task_type or "",
        tag=query.tag or "",
        created_from=query.created_after,
        created_to=query.created_before,
    )
    tasks = criteria.filter(Task.objects.owned_by(user_id))
    return tasks.order_by(*_order(query.ordering))


def _order(ordering: Order) -> list[Any]:
    descending, name = ordering.startswith("-"), ordering.lstrip("-")
    if name == "id":
        return [ordering]
    # Without nulls_last the databases would differ for tasks that have not ended.
    field = F(name).desc(nulls_last=True) if descending else F(name).asc(nulls_last=True)
    return [field, "-id" if descending else "id"]


def _known_count(query: TaskQuery, user_id: UserId) -> int | None:
    """The count from the quota's counters if only statuses are filtered, or else None."""
    if query.model_fields_set & {"task_type", "tag", "created_after", "created_before"}:
        return None
    quota = Quota.objects.filter(user_id=user_id).first()
    if quota is None:
        return 0
    statuses: set[str] = set(query.status) or set(Status)
    ended = quota.ended(statuses)
    if statuses >= ACTIVE:
        return quota.active + ended
    active = Task.objects.owned_by(user_id).active().filter(status__in=statuses)
    return ended + (active.count() if statuses & ACTIVE else 0)


def _page(tasks: QuerySet[Task], query: TaskQuery, count: Callable[[], int | None]) -> Page[Task]:
    if query.after is None:
        return page_by_number(tasks, query, count())
    size = query.size
    descending = query.ordering == "-id"
    following = tasks.filter(**{"id__lt" if descending else "id__gt": query.after})
    rows = list(following[: size + 1])
    next_params: LinkParams | None = {"after": rows[size - 1].id} if len(rows) > size else None
    return Page(None, rows[:size], next_params, None)
