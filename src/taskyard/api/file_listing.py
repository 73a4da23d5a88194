"""The list of files: its filters and pages."""

from typing import Any, Literal

from pydantic import Field
from rest_framework.request import Request

from taskyard.api.pagination import (
    LinkParams,
    Page,
    PageQuery,
    page_by_number,
    parse_query,
    serialize_page,
)
from taskyard.api.serialize import serialize_file
from taskyard.core.types import LARGEST_ID, UserId
from taskyard.files import records
from taskyard.files.models import StoredFile


class FileQuery(PageQuery):
    """The query parameters of the list of files."""

    after: int | None = Field(
        None, ge=0, le=LARGEST_ID, description="Files behind this id; no count, fast at any depth"
    )
    role: Literal["input", "output"] | None = None
    task: int | None = Field(
        None, ge=0, le=LARGEST_ID, description="Those that a task uses or has saved"
    )


def file_list(request: Request, owner_id: UserId) -> dict[str, Any]:
    """The body of a list of the user's files. Raises InvalidInput, NotFound."""
    query = parse_query(FileQuery, request.query_params)
    files = records.owned_by(owner_id).order_by("pk")
    if query.role is not None:
        files = files.filter(role=query.role)
    if query.task is not None:
        files = files.filter(pk__in=records.ids_of_task(owner_id, query.task))
    if query.after is None:
        page: Page[StoredFile] = page_by_number(files, query)
    else:
        rows = list(files.filter(pk__gt=query.after)[: query.size + 1])
        has_more = len(rows) > query.size
        following: LinkParams | None = {"after": rows[query.size - 1].pk} if has_more else None
        page = Page(None, rows[: query.size], following, None)
    return serialize_page(request, page, serialize_file)
