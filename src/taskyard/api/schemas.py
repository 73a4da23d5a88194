"""The models of requests and responses, for pydantic and the OpenAPI document."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, RootModel, SkipValidation

from taskyard.core.intake import Moment as Moment
from taskyard.core.intake import StrictModel as StrictModel
from taskyard.core.intake import TaskCreate as TaskCreate
from taskyard.core.sharing import MOST_SECONDS, USUAL_SECONDS


class Answer(BaseModel):
    """A response, for the document only; the views return dictionaries."""


class Open(StrictModel):
    """A request without a token. Unknown keys are ignored, because clients often send some."""

    model_config = ConfigDict(extra="ignore")


# The limits are not repeated here, because ``accounts`` checks them with better errors.
class Registration(Open):
    username: str = Field(description="At most 150 letters, digits and @.+-_")
    password: str = Field(description="At most 128 characters")
    invitation: str = Field("", description="The code of an invitation, where one is needed")


class Login(Open):
    username: str = Field(max_length=150)
    password: str = Field(max_length=128)


class RefreshRequest(Open):
    refresh: str


class VerifyRequest(Open):
    token: str = Field(description="An access or a refresh token")


class SingleSignOn(Answer):
    issuer: str
    client_id: str = Field(description="The public client for programs")
    device_authorization_endpoint: str
    token_endpoint: str
    scope: str = Field(description="What to ask the provider for")


class PasswordReset(Open):
    email: str = Field(description="An address that its user has confirmed")


class PasswordResetConfirm(Open):
    token: str = Field(description="What follows the # in the link of the mail")
    new_password: str = Field(description="At most 128 characters")


class PasswordChange(StrictModel):
    old_password: str = Field(max_length=128)
    new_password: str = Field(description="At most 128 characters")


class ProfileChange(StrictModel):
    email: str = ""
    first_name: str = ""
    last_name: str = ""


class Presign(StrictModel):
    name: str = Field(max_length=1000)
    size: int = Field(ge=1, description="Bytes of the whole file")


class SentPart(StrictModel):
    number: int = Field(ge=1)
    etag: str = Field(max_length=200, description="What S3 has answered to the part")


class CompleteUpload(StrictModel):
    parts: list[SentPart] | None = Field(
        None, max_length=1000, description="Refuse the file if S3 has other parts than these"
    )


class SubjectTokenRequest(StrictModel):
    expires_in: int = Field(900, ge=60, le=3600, description="Seconds")


class ShareRequest(StrictModel):
    expires_in: int = Field(
        USUAL_SECONDS, ge=1, le=MOST_SECONDS, description="Seconds from now; at most 30 days"
    )
    files: bool = Field(False, description="Show also the files that the task saves")


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
    email_verified: bool = Field(description="Its user has followed the link in a mail")


ScopeName = Literal["tasks:submit", "tasks:read", "tasks:cancel", "files", "schedules", "webhooks"]


class KeyAnswer(Answer):
    id: int
    name: str
    prefix: str = Field(description="The first characters of the key, after `ty_`")
    scopes: list[ScopeName]
    task_types: list[str] | None = Field(
        description="The only types that the key may submit; null for all"
    )
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None = Field(description="At most a minute old")


class NewKeyAnswer(KeyAnswer):
    key: str = Field(description="The key, shown this once")


class KeysAnswer(RootModel[list[KeyAnswer]]):
    pass


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


class FileAnswer(Answer):
    id: int = Field(description="What an input of a task names the file by")
    name: str
    role: Literal["input", "output"]
    content_type: str = Field(description="By the first bytes and the name; it may be wrong")
    size: int = Field(description="Bytes")
    sha256: str
    created_at: datetime
    expires_at: datetime | None = Field(
        description="When it is deleted unless a task uses it; null once one does"
    )


class FilePage(Answer):
    count: int | None = Field(description="Null with `after`")
    next: str | None
    previous: str | None
    results: list[FileAnswer]


class SignedPart(Answer):
    number: int
    url: str = Field(description="PUT exactly `size` bytes there, within a day, without a token")
    size: int


class PresignAnswer(Answer):
    id: int
    name: str
    size: int
    part_size: int
    parts: list[SignedPart]


class UploadAnswer(Answer):
    """A file, or an upload that waits for more bytes."""

    id: int
    name: str


class TaskAnswer(Answer):
    id: int
    task_type: str
    input_data: dict[str, Any] | None = Field(
        description="With dots in place of secrets; null if it was deleted when the task ended"
    )
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
    files: list[FileAnswer] = Field(description="What it uses and what it has saved")
    omitted: list[Literal["input_data", "result"]] = Field(
        default_factory=list,
        description="In a list: what is too long for it, and is {} or null here. Ask for the task",
    )
    subject: str | None = Field(
        None, description="On whose behalf, in answers to a service account with `On-Behalf-Of`"
    )


class SubjectAnswer(Answer):
    id: int = Field(description="For the parameter `after`")
    name: str
    created_at: datetime
    suspended: bool
    active: int
    active_limit: int


class SubjectPage(Answer):
    count: int | None = Field(description="Null with `after`")
    next: str | None
    previous: str | None
    results: list[SubjectAnswer]


class SubjectTokenAnswer(Answer):
    access: str
    expires_at: datetime
    subject: str


class ShareAnswer(Answer):
    url: str | None = Field(
        description="The page with the task, live; null in a project without the pages"
    )
    token: str = Field(description="Opens `/api/shared/`, as a bearer token. Shown once")
    expires_at: datetime
    files: bool
    html: str | None = Field(
        description="To show the task on another site; null in a project without static files"
    )


class SharedError(Answer):
    code: str
    message: str


class SharedFile(Answer):
    id: int
    name: str
    content_type: str
    size: int = Field(description="Bytes")
    sha256: str


class SharedTask(Answer):
    task_type: str
    label: str
    status: Literal["pending", "in_progress", "completed", "error", "cancelled"]
    status_label: str
    progress: Progress | None
    result: Any = Field(description="Null also if it is a file and the link shows no files")
    error: SharedError | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    files: list[SharedFile] = Field(description="What the task has saved, if the link shows it")
    expires_at: datetime = Field(description="When the link ends")


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
