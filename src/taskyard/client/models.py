"""The objects of the API as frozen dataclasses. ``raw`` is the decoded JSON of the server."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

Json = Mapping[str, Any]
# Called with the bytes that were transferred, and with all bytes.
OnProgress = Callable[[int, int], None]
TERMINAL = frozenset({"completed", "error", "cancelled"})
_RAW: Any = field(repr=False, compare=False)


@dataclass(frozen=True)
class Progress:
    """The progress of a task; ``percent`` is None if the total is unknown."""

    current: float | None
    total: float | None
    percent: float | None
    message: str | None
    updated_at: datetime | None

    @classmethod
    def from_dict(cls, raw: Json) -> Self:
        return cls(
            current=raw["current"],
            total=raw["total"],
            percent=raw["percent"],
            message=raw["message"],
            updated_at=_parse_time(raw["updated_at"]),
        )


@dataclass(frozen=True)
class TaskError:
    """Why a task or an attempt failed. ``code`` does not depend on the language."""

    code: str
    message: str
    attempt: int | None = None

    @classmethod
    def from_dict(cls, raw: Json) -> Self:
        return cls(code=raw["code"], message=raw["message"], attempt=raw.get("attempt"))


@dataclass(frozen=True)
class FileRecord:
    """What the server knows of a file; ``size`` is in bytes, ``sha256`` in hexadecimal digits.

    ``role`` is input or output; of a task's file, what it is to the task.
    """

    id: int
    name: str
    content_type: str
    size: int
    sha256: str
    role: str
    created_at: datetime
    expires_at: datetime | None
    raw: Json = field(repr=False, compare=False)


def file_fields(raw: Json) -> dict[str, Any]:
    """The fields of a FileRecord from the JSON of a file."""
    return {
        "id": raw["id"],
        "name": raw["name"],
        "content_type": raw["content_type"],
        "size": raw["size"],
        "sha256": raw["sha256"],
        "role": raw["role"],
        "created_at": datetime.fromisoformat(raw["created_at"]),
        "expires_at": _parse_time(raw["expires_at"]),
        "raw": raw,
    }


@dataclass(frozen=True)
class TaskRecord:
    """What the server knows of a task at the time of the response.

    ``omitted`` names the fields that were too long for a list (``input_data``, ``result``);
    ``get`` returns them. ``input_data`` has dots in place of secrets, and is None if it was deleted
    when the task ended. ``subject`` is on whose behalf a service account reads it.
    """

    id: int
    task_type: str
    input_data: dict[str, Any] | None
    status: str
    status_label: str
    result: Any
    error: TaskError | None
    progress: Progress | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    run_at: datetime | None
    cancel_requested_at: datetime | None
    priority: str
    queue: str
    attempt: int
    max_attempts: int
    retry_of: int | None
    tags: tuple[str, ...]
    omitted: tuple[str, ...]
    subject: str | None
    raw: Json = field(repr=False, compare=False)

    @property
    def ended(self) -> bool:
        """Whether the status is terminal: completed, error or cancelled."""
        return self.status in TERMINAL

    @property
    def succeeded(self) -> bool:
        """Whether the status is completed."""
        return self.status == "completed"


def task_fields(raw: Json) -> dict[str, Any]:
    """The fields of a TaskRecord from the JSON of a task."""
    return {
        "id": raw["id"],
        "task_type": raw["task_type"],
        "input_data": raw["input_data"],
        "status": raw["status"],
        "status_label": raw["status_label"],
        "result": raw["result"],
        "error": TaskError.from_dict(raw["error"]) if raw["error"] else None,
        "progress": Progress.from_dict(raw["progress"]) if raw["progress"] else None,
        "created_at": datetime.fromisoformat(raw["created_at"]),
        "started_at": _parse_time(raw["started_at"]),
        "finished_at": _parse_time(raw["finished_at"]),
        "run_at": _parse_time(raw["run_at"]),
        "cancel_requested_at": _parse_time(raw["cancel_requested_at"]),
        "priority": raw["priority"],
        "queue": raw["queue"],
        "attempt": raw["attempt"],
        "max_attempts": raw["max_attempts"],
        "retry_of": raw["retry_of"],
        "tags": tuple(raw["tags"]),
        "omitted": tuple(raw.get("omitted", ())),
        "subject": raw.get("subject"),
        "raw": raw,
    }


@dataclass(frozen=True)
class Attempt:
    """One execution of a task."""

    number: int
    outcome: str
    started_at: datetime | None
    ended_at: datetime | None
    error: TaskError | None
    traceback: str | None
    raw: Json = _RAW

    @classmethod
    def from_dict(cls, raw: Json) -> Self:
        return cls(
            number=raw["number"],
            outcome=raw["outcome"],
            started_at=_parse_time(raw["started_at"]),
            ended_at=_parse_time(raw["ended_at"]),
            error=TaskError.from_dict(raw["error"]) if raw["error"] else None,
            traceback=raw.get("traceback"),
            raw=raw,
        )


@dataclass(frozen=True)
class LogLine:
    """A log line; ``dropped`` is the number of lines after it that were over the limit."""

    at: datetime
    attempt: int
    level: str | None
    message: str
    dropped: int
    raw: Json = _RAW

    @classmethod
    def from_dict(cls, raw: Json) -> Self:
        return cls(
            at=datetime.fromisoformat(raw["at"]),
            attempt=raw["attempt"],
            level=raw.get("level"),
            message=raw["message"],
            dropped=raw["dropped"],
            raw=raw,
        )


@dataclass(frozen=True)
class TaskType:
    """A task type, with the JSON Schemas of its input and its result."""

    name: str
    label: str
    description: str
    queue: str
    priority: str
    max_attempts: int
    timeout: float | None
    input_schema: dict[str, Any]
    result_schema: dict[str, Any]
    raw: Json = _RAW

    @classmethod
    def from_dict(cls, raw: Json) -> Self:
        return cls(
            name=raw["name"],
            label=raw["label"],
            description=raw["description"],
            queue=raw["queue"],
            priority=raw["priority"],
            max_attempts=raw["max_attempts"],
            timeout=raw["timeout"],
            input_schema=raw["input_schema"],
            result_schema=raw["result_schema"],
            raw=raw,
        )


@dataclass(frozen=True)
class Profile:
    """The user of the token."""

    id: int
    username: str
    email: str
    first_name: str
    last_name: str
    date_joined: datetime
    raw: Json = _RAW

    @classmethod
    def from_dict(cls, raw: Json) -> Self:
        return cls(
            id=raw["id"],
            username=raw["username"],
            email=raw["email"],
            first_name=raw["first_name"],
            last_name=raw["last_name"],
            date_joined=datetime.fromisoformat(raw["date_joined"]),
            raw=raw,
        )


@dataclass(frozen=True)
class ApiKey:
    """An API key and what it may do; ``key`` is the key itself, which only `create_key` returns.

    ``task_types`` are the only types that it may submit, None for all.
    """

    id: int
    name: str
    prefix: str
    scopes: tuple[str, ...]
    task_types: tuple[str, ...] | None
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    key: str | None = field(default=None, repr=False)
    raw: Json = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def from_dict(cls, raw: Json) -> Self:
        return cls(
            id=raw["id"],
            name=raw["name"],
            prefix=raw["prefix"],
            scopes=tuple(raw["scopes"]),
            task_types=None if raw["task_types"] is None else tuple(raw["task_types"]),
            created_at=datetime.fromisoformat(raw["created_at"]),
            expires_at=_parse_time(raw["expires_at"]),
            last_used_at=_parse_time(raw["last_used_at"]),
            key=raw.get("key"),
            raw=raw,
        )


@dataclass(frozen=True)
class Limits:
    """The quota of active tasks; ``tasks`` are the ids of active tasks, 1,000 at most."""

    active_limit: int
    active: int
    available: int
    tasks: tuple[int, ...]
    raw: Json = _RAW

    @classmethod
    def from_dict(cls, raw: Json) -> Self:
        return cls(
            active_limit=raw["active_limit"],
            active=raw["active"],
            available=raw["available"],
            tasks=tuple(raw["tasks"]),
            raw=raw,
        )


@dataclass(frozen=True)
class SharedLink:
    """A link that shows a task without a login, until ``expires_at``.

    ``url`` is the page with the task, ``html`` shows it on another site; each is None if the
    server has none. ``token`` is a bearer token for `/api/shared/` alone.
    """

    url: str | None = field(repr=False)
    token: str = field(repr=False)
    expires_at: datetime
    files: bool
    html: str | None = field(repr=False)
    raw: Json = _RAW

    @classmethod
    def from_dict(cls, raw: Json) -> Self:
        return cls(
            url=raw["url"],
            token=raw["token"],
            expires_at=datetime.fromisoformat(raw["expires_at"]),
            files=raw["files"],
            html=raw["html"],
            raw=raw,
        )


@dataclass(frozen=True)
class NewTask:
    """A task to submit. The task type sets the default of each option that is None."""

    task_type: str
    input_data: Mapping[str, Any] = field(default_factory=dict)
    run_at: datetime | str | None = None
    delay: float | None = None
    priority: str | None = None
    max_attempts: int | None = None
    timeout: float | None = None
    tags: Sequence[str] = ()

    def body(self) -> dict[str, Any]:
        """The body of the create request."""
        options = {
            "run_at": self.run_at.isoformat() if isinstance(self.run_at, datetime) else self.run_at,
            "delay": self.delay,
            "priority": self.priority,
            "max_attempts": self.max_attempts,
            "timeout": self.timeout,
            "tags": list(self.tags) or None,
        }
        set_options = {name: value for name, value in options.items() if value is not None}
        return {"task_type": self.task_type, "input_data": self.input_data, **set_options}


@dataclass(frozen=True)
class Chunk:
    """Tasks that the server accepted in one request.

    ``first`` is the index of the first one, counted from 0. ``replayed`` is true if an earlier
    request with the same key created them.
    """

    first: int
    ids: tuple[int, ...]
    replayed: bool


def _parse_time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
