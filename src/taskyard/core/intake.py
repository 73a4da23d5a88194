"""Parse a request for a task: the same for the API and the page.

Raises InvalidInput with the place in the request.
"""

import json
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
)
from pydantic_core import PydanticCustomError

from taskyard.catalog.files import MOST_FILES, UsedFile
from taskyard.catalog.schema import (
    MOST_FIELD_ERRORS,
    FieldError,
    InvalidInput,
    Path,
    field_errors_of,
    refuse_many_unknown,
)
from taskyard.catalog.task_type import TaskType, UnknownTaskType, registry
from taskyard.core import encryption
from taskyard.core.conf import conf
from taskyard.core.fair_order import band_of
from taskyard.core.states import Priority
from taskyard.core.strict_json import dumps
from taskyard.core.types import NewTask

# The size of one task in a request, alone or in a bulk.
BODY_LIMIT = 256 * 1024
YEAR_SECONDS = 366 * 24 * 3600


def _in_utc(moment: datetime) -> datetime:
    try:
        moment = moment.astimezone(UTC)
    except OverflowError:
        moment = datetime.min.replace(tzinfo=UTC)
    # Databases, and conversions to any time zone, can represent these years.
    if not 1900 <= moment.year <= 9000:
        raise PydanticCustomError("time_out_of_range", "The time is too far away.")
    return moment


def _written(value: Any) -> Any:
    # Without strict mode, pydantic also accepts numbers, as seconds since 1970.
    if not isinstance(value, str) or not re.match(r"\d{4}-\d\d-\d\d", value):
        raise PydanticCustomError("datetime_type", "Input should be a valid datetime")
    return value


# Strict mode accepts strings as times only in JSON text, but our JSON is parsed already.
Moment = Annotated[
    AwareDatetime, Field(strict=False), BeforeValidator(_written), AfterValidator(_in_utc)
]


class StrictModel(BaseModel):
    """A request: exact types, no unknown keys."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


Request = TypeVar("Request", bound=StrictModel)


def parse(model: type[Request], data: Any) -> Request:
    """Parse data as a model; raises InvalidInput."""
    # A request with few keys has few errors, so most requests need no further look.
    if (
        isinstance(data, dict)
        and len(data) > MOST_FIELD_ERRORS
        and model.model_config.get("extra") == "forbid"
    ):
        refuse_many_unknown(data, model.model_fields)
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise InvalidInput(field_errors_of(error, data)) from None


class TaskCreate(StrictModel):
    task_type: str
    input_data: Any = Field(json_schema_extra={"type": "object"})
    run_at: Moment | None = Field(None, description="Not before this moment")
    delay: float | None = Field(
        None, ge=0, le=10 * YEAR_SECONDS, description="Not before so many seconds have passed"
    )
    priority: Literal["low", "normal", "high"] | None = None
    max_attempts: int | None = Field(None, ge=1, le=10)
    timeout: float | None = Field(
        None, gt=0, le=YEAR_SECONDS, description="Seconds that one attempt may take"
    )
    # A factory, because pydantic makes a deep copy of a default list for each request.
    tags: list[Annotated[str, Field(min_length=1, max_length=50)]] = Field(
        default_factory=list, max_length=10, json_schema_extra={"default": []}
    )


def parse_task(data: Any) -> NewTask:
    """Parse a task, and encrypt the secrets of its input.

    Raises InvalidInput with the errors of the options, the type and its input;
    EncryptionUnavailable.
    """
    try:
        request = parse(TaskCreate, data)
        if request.run_at is not None and request.delay is not None:
            message = "Give either run_at or delay, not both."
            raise InvalidInput([FieldError((), "run_at_and_delay", message)])
    except InvalidInput as error:
        raise InvalidInput([*error.field_errors, *_errors_of_input(data)]) from None
    task_type, input_data = _fitting(request.task_type, request.input_data)
    new = NewTask(
        task_type=task_type.name,
        queue=task_type.queue,
        input_data=input_data,
        priority=Priority[(request.priority or task_type.priority).upper()],
        max_attempts=request.max_attempts or task_type.max_attempts,
        timeout_seconds=task_type.timeout if request.timeout is None else request.timeout,
        tags=tuple(dict.fromkeys(request.tags)),
        run_at=request.run_at,
        delay_microseconds=round(request.delay * 1_000_000) if request.delay else None,
    )
    if band := band_for(task_type.name, new.priority):
        new = new._replace(band=band)
    if task_type.takes_files:
        new = new._replace(files=_files(task_type, input_data))
    if task_type.secrets is not None:
        new = new._replace(input_data=encryption.seal(task_type, input_data))
    return new


def band_for(name: str, priority: int) -> int:
    """The band of a user's task of this type: by the type's own priority, or by the setting."""
    if conf().PRIORITY == "global":
        return band_of(priority)
    try:
        return band_of(Priority[registry.get(name).priority.upper()])
    except UnknownTaskType:
        return 0


def files_of(name: str, input_data: Any) -> tuple[UsedFile, ...]:
    """The files that an accepted input names; none if its task type is gone.

    Raises InvalidInput if the type does not accept the input any more, SecretUnreadable.
    """
    try:
        task_type = registry.get(name)
    except UnknownTaskType:
        return ()
    if not task_type.takes_files:
        return ()
    if task_type.secrets is not None:
        input_data = json.loads(encryption.open_input(task_type, json.dumps(input_data)).text)
    return _files(task_type, input_data)


def _files(task_type: TaskType, input_data: Any) -> tuple[UsedFile, ...]:
    """Raises InvalidInput for too many."""
    files = tuple(
        UsedFile(("input_data", *used.path), used.file) for used in task_type.files(input_data)
    )
    if len(files) > MOST_FILES:
        message = f"A task may have at most {MOST_FILES} files."
        params = {"limit": MOST_FILES}
        raise InvalidInput([FieldError(("input_data",), "too_many_files", message, params)])
    return files


def _fitting(name: str, input_data: Any) -> tuple[TaskType, dict[str, Any]]:
    """The type of this name, and its input. Raises InvalidInput."""
    try:
        task_type = known_type(name)
    except InvalidInput as error:
        raise InvalidInput([*error.field_errors, *_errors_of_any_input(input_data)]) from None
    try:
        return task_type, task_type.validate(input_data)
    except InvalidInput as error:
        raise InvalidInput(prefix_errors(("input_data",), error)) from None


def _errors_of_input(data: Any) -> Sequence[FieldError]:
    """The further errors of a request whose options are invalid."""
    if not isinstance(data, dict):
        return ()
    # A missing input has been reported already.
    name, input_data = data.get("task_type"), data.get("input_data", {})
    if not isinstance(name, str):
        return _errors_of_any_input(input_data)
    try:
        _fitting(name, input_data) if "input_data" in data else known_type(name)
    except InvalidInput as error:
        return error.field_errors
    return ()


def _errors_of_any_input(input_data: Any) -> Sequence[FieldError]:
    """The errors of an input whose task type is not known."""
    if isinstance(input_data, dict):
        return ()
    return [FieldError(("input_data",), "dict_type", "Input should be a valid dictionary")]


def known_type(name: str) -> TaskType:
    """The task type of this name, if users may submit it; raises InvalidInput."""
    try:
        return registry.get_public(name)
    except UnknownTaskType:
        message = "There is no such task type."
        raise InvalidInput([FieldError(("task_type",), "unknown_task_type", message)]) from None


def check_size(request: object) -> None:
    """Raise InvalidInput if the request of one task is larger than ``BODY_LIMIT``."""
    if len(dumps(request)) > BODY_LIMIT:
        raise too_large()


def too_large() -> InvalidInput:
    """The error for a task with more than ``BODY_LIMIT`` bytes."""
    return InvalidInput(
        [FieldError((), "task_too_large", "The task is too large.", {"limit": BODY_LIMIT})]
    )


def prefix_errors(place: Path, error: InvalidInput) -> Iterator[FieldError]:
    """The errors of a part of the request, with their paths in the whole."""
    for field_error in error.field_errors:
        yield FieldError(
            (*place, *field_error.path), field_error.code, field_error.message, field_error.context
        )
