"""From a body to the tasks it asks for. Raises InvalidInput at the place in the body."""

from collections.abc import Sequence
from typing import Any

from taskyard.api import schemas
from taskyard.catalog.schema import MOST_FIELD_ERRORS, FieldError, InvalidInput
from taskyard.core.intake import BODY_LIMIT, check_size, within
from taskyard.core.intake import known_type as known_type
from taskyard.core.intake import one as one
from taskyard.core.types import NewTask


def many(data: Any, *, size: int) -> list[NewTask]:
    """At most so many flaws are looked for as are shown. ``size`` is the whole body's, in bytes."""
    new: list[NewTask] = []
    tasks, field_errors = _tasks_of(data)
    for index, asked in enumerate(tasks):
        try:
            if size > BODY_LIMIT:
                check_size(asked)
            new.append(one(asked))
        except InvalidInput as error:
            field_errors += within(("tasks", index), error)
        if len(field_errors) >= MOST_FIELD_ERRORS:
            break
    if field_errors:
        raise InvalidInput(field_errors)
    return new


def _tasks_of(data: Any) -> tuple[Sequence[Any], list[FieldError]]:
    """The tasks of a bulk, each to be read by itself, and what is wrong with the bulk around it."""
    try:
        return schemas.read(schemas.Bulk, data).tasks, []
    except InvalidInput as error:
        tasks = data.get("tasks") if isinstance(data, dict) else None
        if not isinstance(tasks, list) or len(tasks) > schemas.MOST_TASKS:
            tasks = []
        return tasks, list(error.field_errors)
