"""From a body to the tasks it asks for. Raises InvalidInput at the place in the body."""

from typing import Any

from taskyard.api import shapes
from taskyard.api.errors import MOST_FLAWS
from taskyard.api.json import BODY_LIMIT, dumps
from taskyard.catalog.schema import Flaw, InvalidInput
from taskyard.core.intake import known_type as known_type
from taskyard.core.intake import one as one
from taskyard.core.intake import within
from taskyard.core.values import NewTask


def many(data: Any) -> list[NewTask]:
    """At most so many flaws are looked for as are shown."""
    new: list[NewTask] = []
    flaws: list[Flaw] = []
    for index, asked in enumerate(shapes.read(shapes.Bulk, data).tasks):
        try:
            _check_size(asked)
            new.append(one(asked))
        except InvalidInput as error:
            flaws += within(("tasks", index), error)
        if len(flaws) >= MOST_FLAWS:
            break
    if flaws:
        raise InvalidInput(flaws)
    return new


def _check_size(asked: object) -> None:
    """A task of a bulk may not be larger than the body of one that is submitted alone."""
    if len(dumps(asked)) > BODY_LIMIT:
        raise InvalidInput(
            [Flaw((), "task_too_large", "The task is too large.", {"limit": BODY_LIMIT})]
        )
