"""The models of requests and responses, for pydantic and the OpenAPI document."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, RootModel, SkipValidation

from taskyard.core.intake import Moment as Moment
from taskyard.core.intake import StrictModel as StrictModel
from taskyard.core.intake import TaskCreate as TaskCreate


class Answer(BaseModel):
    """A response, for the document only; the views return dictionaries."""


class Open(StrictModel):
    """A request without a token. Unknown keys are ignored, because clients often send some."""

    model_config = ConfigDict(extra="ignore")


# The limits are not repeated here, because ``accounts`` checks them with better errors.
class Registration(Open):
    username: str = Field(description="At most 150 letters, digits and @.+-_")
    password: str = Field(description="At most 128 characters")


class Login(Open):
    username: str = Field(max_length=150)
    password: str = Field(max_length=128)


class RefreshRequest(Open):
    refresh: str


class VerifyRequest(Open):
    token: str = Field(description="An access or a refresh token")


class PasswordChange(StrictModel):
    old_password: str = Field(max_length=128)
    new_password: str = Field(description="At most 128 characters")


class ProfileChange(StrictModel):
    email: str = ""
    first_name: str = ""
    last_name: str = ""


MOST_TASKS = 1000


class Bulk(StrictModel):
    # ``api.intake`` parses each task by itself and stops after the first errors.
    tasks: list[SkipValidation[TaskCreate]] = Field(min_length=1, max_length=MOST_TASKS)


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
    tasks: list[int] = Field(description="The first 1,000 of the tasks that hold a place now")


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
    omitted: list[Literal["input_data", "result"]] = Field(
        default_factory=list,
        description="In a list: what is too long for it, and is {} or null here. Ask for the task",
    )


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
    traceback: str | None = Field(
        description="Where an exception came from; null unless the operator lets owners see it"
    )


class AttemptPage(Answer):
    count: int | None = Field(description="Null with `after`")
    next: str | None
    previous: str | None
    results: list[AttemptAnswer]


class LogLineAnswer(Answer):
    at: datetime
    attempt: int
    level: str | None = Field(
        description="Of what the handler logged or printed; null for a line of its `Run`"
    )
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
