"""From a body to the tasks it asks for. Raises InvalidInput at the place in the body."""

from collections.abc import Iterator
from typing import Any

from taskyard.api import shapes
from taskyard.api.errors import MOST_FLAWS
from taskyard.api.json import BODY_LIMIT, dumps
from taskyard.catalog.schema import Flaw, InvalidInput, Path
from taskyard.catalog.task_type import TaskType, UnknownTaskType, registry
from taskyard.core.states import Priority
from taskyard.core.values import NewTask


def one(data: Any) -> NewTask:
    asked = shapes.read(shapes.TaskCreate, data)
    task_type = known_type(asked.task_type)
    try:
        input_data = task_type.validate(asked.input_data)
    except InvalidInput as error:
        raise InvalidInput(_within(("input_data",), error)) from None
    return NewTask(
        task_type=task_type.name,
        queue=task_type.queue,
        input_data=input_data,
        priority=Priority[(asked.priority or task_type.priority).upper()],
        max_attempts=asked.max_attempts or task_type.max_attempts,
        timeout_seconds=task_type.timeout if asked.timeout is None else asked.timeout,
        tags=tuple(dict.fromkeys(asked.tags)),
        run_at=asked.due(),
    )


def many(data: Any, *, size: int) -> list[NewTask]:
    """At most so many flaws are looked for as are shown. ``size`` is the whole body's, in bytes."""
    new: list[NewTask] = []
    flaws: list[Flaw] = []
    for index, asked in enumerate(shapes.read(shapes.Bulk, data).tasks):
        try:
            if size > BODY_LIMIT:
                _check_size(asked)
            new.append(one(asked))
        except InvalidInput as error:
            flaws += _within(("tasks", index), error)
        if len(flaws) >= MOST_FLAWS:
            break
    if flaws:
        raise InvalidInput(flaws)
    return new


def known_type(name: str) -> TaskType:
    try:
        return registry.get(name)
    except UnknownTaskType:
        message = "There is no such task type."
        raise InvalidInput([Flaw(("task_type",), "unknown_task_type", message)]) from None


def _check_size(asked: object) -> None:
    """A task of a bulk may not be larger than the body of one that is submitted alone."""
    if len(dumps(asked)) > BODY_LIMIT:
        raise InvalidInput(
            [Flaw((), "task_too_large", "The task is too large.", {"limit": BODY_LIMIT})]
        )


def _within(place: Path, error: InvalidInput) -> Iterator[Flaw]:
    for flaw in error.flaws:
        yield Flaw((*place, *flaw.path), flaw.code, flaw.message, flaw.context)
