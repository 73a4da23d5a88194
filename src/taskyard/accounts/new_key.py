"""What a request for an API key must say. Uses no model, as the API's document needs it too."""

import unicodedata
from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from taskyard.accounts.scopes import Scope
from taskyard.catalog.task_type import UnknownTaskType, registry
from taskyard.core.intake import Moment, StrictModel

LONGEST_NAME = 100
MOST_TASK_TYPES = 100


def _readable(name: str) -> str:
    if not name.strip():
        raise PydanticCustomError(
            "string_too_short", "Input should have at least 1 character", {"min_length": 1}
        )
    # With control and direction characters a name could look like another one.
    if any(unicodedata.category(character) in ("Cc", "Cf") for character in name):
        raise PydanticCustomError("invalid_characters", "Control characters are not allowed.")
    return name


def _known_type(name: str) -> str:
    try:
        return registry.get_public(name).name
    except UnknownTaskType:
        raise PydanticCustomError("unknown_task_type", "There is no such task type.") from None


def _in_future(moment: datetime) -> datetime:
    if moment <= datetime.now(UTC):
        raise PydanticCustomError("not_in_future", "The time must be in the future.")
    return moment


class NewKey(StrictModel):
    """The body of ``POST keys/``, and what the form of the page becomes."""

    name: Annotated[str, Field(min_length=1, max_length=LONGEST_NAME), AfterValidator(_readable)]
    # From strings, although strict mode would want members of the enumeration.
    scopes: list[Annotated[Scope, Field(strict=False)]] = Field(min_length=1, max_length=len(Scope))
    task_types: list[Annotated[str, AfterValidator(_known_type)]] | None = Field(
        None,
        min_length=1,
        max_length=MOST_TASK_TYPES,
        description="The only types that the key may submit; null for all",
    )
    expires_at: Annotated[Moment, AfterValidator(_in_future)] | None = Field(
        None, description="From then on the key is refused; null for never"
    )
