"""From a body to the tasks it asks for. Raises InvalidInput at the place in the body."""

from typing import Any

from taskyard.api import shapes
from taskyard.api.errors import MOST_FLAWS
from taskyard.catalog.schema import Flaw, InvalidInput
from taskyard.core.intake import check_size, within
from taskyard.core.intake import known_type as known_type
from taskyard.core.intake import one as one
from taskyard.core.values import NewTask


def many(data: Any) -> list[NewTask]:
    """At most so many flaws are looked for as are shown."""
    new: list[NewTask] = []
    flaws: list[Flaw] = []
    for index, asked in enumerate(shapes.read(shapes.Bulk, data).tasks):
        try:
            check_size(asked)
            new.append(one(asked))
        except InvalidInput as error:
            flaws += within(("tasks", index), error)
        if len(flaws) >= MOST_FLAWS:
            break
    if flaws:
        raise InvalidInput(flaws)
    return new
