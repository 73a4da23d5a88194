"""From a body to the tasks it asks for. Raises InvalidInput at the place in the body."""

from collections.abc import Sequence
from typing import Any

from taskyard.api import shapes
from taskyard.catalog.schema import MOST_FLAWS, Flaw, InvalidInput
from taskyard.core.intake import BODY_LIMIT, check_size, within
from taskyard.core.intake import known_type as known_type
from taskyard.core.intake import one as one
from taskyard.core.values import NewTask


def many(data: Any, *, size: int) -> list[NewTask]:
    """At most so many flaws are looked for as are shown. ``size`` is the whole body's, in bytes."""
    new: list[NewTask] = []
    tasks, flaws = _tasks_of(data)
    for index, asked in enumerate(tasks):
        try:
            if size > BODY_LIMIT:
                check_size(asked)
            new.append(one(asked))
        except InvalidInput as error:
            flaws += within(("tasks", index), error)
        if len(flaws) >= MOST_FLAWS:
            break
    if flaws:
        raise InvalidInput(flaws)
    return new


def _tasks_of(data: Any) -> tuple[Sequence[Any], list[Flaw]]:
    """The tasks of a bulk, each to be read by itself, and what is wrong with the bulk around it."""
    try:
        return shapes.read(shapes.Bulk, data).tasks, []
    except InvalidInput as error:
        tasks = data.get("tasks") if isinstance(data, dict) else None
        if not isinstance(tasks, list) or len(tasks) > shapes.MOST_TASKS:
            tasks = []
        return tasks, list(error.flaws)
