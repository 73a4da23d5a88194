"""Parse request bodies into new tasks. Raises InvalidInput with the path in the body."""

from collections.abc import Sequence
from typing import Any

from taskyard.api import schemas
from taskyard.catalog.schema import MOST_FIELD_ERRORS, FieldError, InvalidInput
from taskyard.core.intake import (
    BODY_LIMIT,
    check_size,
    known_type,
    parse,
    parse_task,
    prefix_errors,
)
from taskyard.core.types import NewTask

__all__ = ["known_type", "parse", "parse_task", "parse_tasks"]


def parse_tasks(data: Any, *, size: int) -> list[NewTask]:
    """Parse the body of a bulk, which has ``size`` bytes. Raises InvalidInput.

    Stops when it has as many errors as a response shows.
    """
    new_tasks: list[NewTask] = []
    tasks, field_errors = _unparsed_tasks(data)
    for index, task in enumerate(tasks):
        try:
            if size > BODY_LIMIT:
                check_size(task)
            new_tasks.append(parse_task(task).under(("tasks", index)))
        except InvalidInput as error:
            field_errors += prefix_errors(("tasks", index), error)
        if len(field_errors) >= MOST_FIELD_ERRORS:
            break
    if field_errors:
        raise InvalidInput(field_errors)
    return new_tasks


def _unparsed_tasks(data: Any) -> tuple[Sequence[Any], list[FieldError]]:
    """The tasks in the body of a bulk, and the errors of the body around them."""
    try:
        return parse(schemas.Bulk, data).tasks, []
    except InvalidInput as error:
        tasks = data.get("tasks") if isinstance(data, dict) else None
        if not isinstance(tasks, list) or len(tasks) > schemas.MOST_TASKS:
            tasks = []
        return tasks, list(error.field_errors)
