"""The shapes of requests and answers, read by pydantic and shown in the OpenAPI document."""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, TypeVar

from django.utils import timezone
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    RootModel,
    SkipValidation,
    ValidationError,
)
from pydantic_core import PydanticCustomError

from taskyard.catalog.schema import Flaw, InvalidInput, flaws_of

YEAR_SECONDS = 366 * 24 * 3600
LARGEST_ID = 2**63 - 1


def _in_utc(moment: datetime) -> datetime:
    try:
        moment = moment.astimezone(UTC)
    except OverflowError:
        moment = datetime.min.replace(tzinfo=UTC)
    # What a database and every time zone can still hold.
    if not 1900 <= moment.year <= 9000:
        raise PydanticCustomError("time_out_of_range", "The time is too far away.")
    return moment


def _written(value: Any) -> Any:
    # Outside strict mode pydantic would also take numbers, as seconds since 1970.
    if not isinstance(value, str) or not re.match(r"\d{4}-\d\d-\d\d", value):
        raise PydanticCustomError("datetime_type", "Input should be a valid datetime")
    return value


# Strict mode knows JSON's strings as times only when it reads JSON text, which we have parsed.
Moment = Annotated[
    AwareDatetime, Field(strict=False), BeforeValidator(_written), AfterValidator(_in_utc)
]


class Shape(BaseModel):
    """A request: exact types, no unknown keys."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class Answer(BaseModel):
    """An answer; only for the document, answers are plain dictionaries."""


Request = TypeVar("Request", bound=Shape)


def read(shape: type[Request], data: Any) -> Request:
    """Raises InvalidInput."""
    try:
        return shape.model_validate(data)
    except ValidationError as error:
        raise InvalidInput(flaws_of(error, data)) from None


# Longer names and passwords are told apart by accounts, which knows the limits.
class Registration(Shape):
    username: str = Field(description="At most 150 letters, digits and @.+-_")
    password: str = Field(description="At most 128 characters")


class Login(Shape):
    username: str = Field(max_length=150)
    password: str = Field(max_length=128)


class RefreshRequest(Shape):
    refresh: str


class PasswordChange(Shape):
    old_password: str = Field(max_length=128)
    new_password: str = Field(description="At most 128 characters")


class ProfileChange(Shape):
    email: str = ""
    first_name: str = ""
    last_name: str = ""


class TaskCreate(Shape):
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
    # A default that is a list would be copied deeply for each.
    tags: list[Annotated[str, Field(min_length=1, max_length=50)]] = Field(
        default_factory=list, max_length=10, json_schema_extra={"default": []}
    )

    def due(self) -> datetime | None:
        """When the task may first run; None for at once. Raises InvalidInput."""
        if self.delay is None:
            return self.run_at
        if self.run_at is not None:
            message = "Give either run_at or delay, not both."
            raise InvalidInput([Flaw((), "run_at_and_delay", message)])
        return timezone.now() + timedelta(seconds=self.delay) if self.delay else None


class Bulk(Shape):
    # Each is read by itself, so that the first wrong ones are enough to refuse.
    tasks: list[SkipValidation[TaskCreate]] = Field(min_length=1, max_length=1000)


class Registered(Answer):
    id: int
    username: str


class AccessToken(Answer):
    access: str
    refresh: str | None = Field(None, description="Only where refresh tokens rotate")


class TokenPair(Answer):
    access: str
    refresh: str


class Nothing(Answer):
    pass


class Profile(Answer):
    id: int
    username: str
    email: str
    first_name: str
    last_name: str
    date_joined: datetime


class LimitsAnswer(Answer):
    active_limit: int
    active: int
    available: int
    tasks: list[int] = Field(description="The tasks that hold a place now")


class TaskTypeAnswer(Answer):
    name: str
    label: str
    description: str
    queue: str
    priority: Literal["low", "normal", "high"]
    max_attempts: int
    timeout: float | None = Field(description="Seconds")
    input_schema: dict[str, Any] = Field(description="JSON Schema 2020-12")
    result_schema: dict[str, Any] = Field(description="JSON Schema 2020-12")


class TaskTypesAnswer(RootModel[list[TaskTypeAnswer]]):
    pass


class Progress(Answer):
    current: float | None
    total: float | None
    percent: float | None
    message: str | None
    updated_at: datetime | None


class TaskError(Answer):
    code: str
    message: str
    attempt: int


class TaskAnswer(Answer):
    id: int
    task_type: str
    input_data: dict[str, Any]
    status: Literal["pending", "in_progress", "completed", "error", "cancelled"]
    result: Any
    created_at: datetime
    status_label: str
    priority: Literal["low", "normal", "high"]
    queue: str
    progress: Progress | None
    attempt: int
    max_attempts: int
    error: TaskError | None
    run_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    cancel_requested_at: datetime | None
    retry_of: int | None
    tags: list[str]


class TaskPage(Answer):
    count: int | None = Field(description="Null with `after`")
    next: str | None
    previous: str | None
    results: list[TaskAnswer]


class BulkAnswer(Answer):
    count: int
    ids: list[int] = Field(description="In the order of the request")


class AttemptError(Answer):
    code: str
    message: str


class AttemptAnswer(Answer):
    number: int
    outcome: Literal[
        "running", "suspended", "handed_back", "failed", "lost", "completed", "error", "cancelled"
    ]
    started_at: datetime | None
    ended_at: datetime | None
    error: AttemptError | None = Field(description="What ended it, also where that was a cancel")


class AttemptPage(Answer):
    count: int | None = Field(description="Null with `after`")
    next: str | None
    previous: str | None
    results: list[AttemptAnswer]


class LogLineAnswer(Answer):
    at: datetime
    attempt: int
    message: str
    dropped: int = Field(description="How many lines behind this one were too many to keep")


class LogPage(Answer):
    count: int | None = Field(description="Null with `after`")
    next: str | None
    previous: str | None
    results: list[LogLineAnswer]


class QueueAnswer(Answer):
    name: str
    paused: bool
    waiting: int = Field(description="Ready for a worker")
    sleeping: int = Field(description="Delayed, backing off or suspended until their time comes")
    running: int = Field(description="Held by a worker")


class QueuesAnswer(RootModel[list[QueueAnswer]]):
    pass


class ErrorAnswer(Answer):
    """Without a field: `detail` and `code`. Else the texts, nested as the request is."""

    model_config = ConfigDict(extra="allow")

    detail: str | None = None
    code: str | None = None


class ProblemError(Answer):
    pointer: str = Field(description="JSON pointer (RFC 6901) into the request")
    code: str
    detail: str


class ProblemAnswer(Answer):
    """RFC 9457, for `Accept: application/problem+json`."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    errors: list[ProblemError]
