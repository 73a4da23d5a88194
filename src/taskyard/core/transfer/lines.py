"""What a line of an export holds, and how it is read: docs/reference/export-format.md.

Each line is a JSON object with a ``kind``. Inputs, results, progress and checkpoints are kept as
the text that stands in the line, so that every number stays as it was written.
"""

import json
import math
import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal, NamedTuple, get_args

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, WithJsonSchema

from taskyard.core.intake import Moment
from taskyard.core.states import TERMINAL

FORMAT = "taskyard-export"
# Only an export with files needs version 2.
VERSION, VERSION_WITH_FILES = 1, 2
# Members of a task whose text is kept.
RAW = frozenset({"input_data", "result", "progress", "checkpoint"})

_SPACE = re.compile(r"[ \t\r\n]*")
_SUSPECT = re.compile(r"\\u(?:0000|[dD][89a-fA-F])")

# Every JSON parser reads these exactly, and they leave enough ids for later tasks.
Id = Annotated[int, Field(ge=1, lt=2**53)]
Count = Annotated[int, Field(ge=0, le=2**31 - 1)]
Name = Annotated[str, Field(min_length=1, max_length=254)]
AnyJson = Annotated[str, WithJsonSchema({})]
JsonObject = Annotated[str, Field(pattern=r"^\{"), WithJsonSchema({"type": "object"})]


class BadLine(Exception):
    """A line that cannot be imported: its number, a code, and what is wrong."""

    def __init__(self, number: int, code: str, message: str) -> None:
        super().__init__(f"line {number}: {code}: {message}")
        self.number, self.code, self.message = number, code, message
        # The number of the last line that stays imported.
        self.imported = 0


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class Header(_Part):
    """The first line. ``source`` names the installation: ids are unique in it."""

    kind: Literal["header"]
    format: Literal["taskyard-export"]
    version: Literal[1, 2]
    source: Annotated[str, Field(min_length=1, max_length=300)]
    exported_at: Moment
    secrets: bool = False
    files: bool = False


class UserLine(_Part):
    """A user. ``password`` is the hash of the password, in an export with secrets."""

    kind: Literal["user"]
    username: Name
    email: str = ""
    first_name: str = ""
    last_name: str = ""
    is_active: bool = True
    is_staff: bool = False
    is_superuser: bool = False
    date_joined: Moment | None = None
    last_login: Moment | None = None
    password: str | None = None


class QuotaLine(_Part):
    """A user's own limit of active tasks."""

    kind: Literal["quota"]
    username: Name
    active_limit: Count


class QueueLine(_Part):
    """A paused queue."""

    kind: Literal["queue"]
    name: Annotated[str, Field(min_length=1, max_length=50)]
    paused_at: Moment
    paused_by: Name | None = None


class FileLine(_Part):
    """A file. Its bytes lie beside the export under their SHA-256."""

    kind: Literal["file"]
    id: Id
    owner: Name | None
    name: Annotated[str, Field(min_length=1, max_length=255)]
    content_type: Annotated[str, Field(max_length=127)] = ""
    size: Annotated[int, Field(ge=0, lt=2**53)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    created_at: Moment


class Error(_Part):
    """Why an attempt or a task failed."""

    code: Annotated[str, Field(max_length=100)]
    message: str


class TracebackPart(_Part):
    """The exception that ended an attempt."""

    exception_type: Annotated[str, Field(max_length=300)]
    location: Annotated[str, Field(max_length=300)]
    text: str


class AttemptPart(_Part):
    """A past attempt that did not end its task."""

    number: Count
    started_at: Moment
    ended_at: Moment
    error: Error
    traceback: TracebackPart | None = None


class LogPart(_Part):
    """A line of a task's log; ``dropped`` counts the lines that are missing after it."""

    attempt: Count
    at: Moment
    level: Annotated[str, Field(max_length=20)] = ""
    message: str
    dropped: Count = 0


class TaskLine(_Part):
    """A task with its past attempts and its log. ``traceback`` is that of the last attempt."""

    kind: Literal["task"]
    id: Id
    owner: Name | None
    task_type: Annotated[str, Field(min_length=1, max_length=200)]
    queue: Annotated[str, Field(min_length=1, max_length=50)]
    input_data: JsonObject | None
    status: Literal["pending", "in_progress", "completed", "error", "cancelled"]
    result: AnyJson | None = None
    error: Error | None = None
    progress: JsonObject | None = None
    tags: list[Annotated[str, Field(max_length=50)]] = Field(default_factory=list)
    priority: Annotated[int, Field(ge=-(2**15), lt=2**15)] = 1
    timeout_seconds: float | None = None
    retry_of: Id | None = None
    created_at: Moment
    run_at: Moment | None = None
    started_at: Moment | None = None
    claimed_at: Moment | None = None
    finished_at: Moment | None = None
    cancel_requested_at: Moment | None = None
    cancel_requested_by: Name | None = None
    attempt: Count = 0
    max_attempts: Annotated[int, Field(ge=1, lt=2**31)] = 3
    wake_at: Moment | None = None
    resumes: bool = False
    slept: Count = 0
    checkpoint: AnyJson | None = None
    traceback: TracebackPart | None = None
    attempts: list[AttemptPart] = Field(default_factory=list)
    log: list[LogPart] = Field(default_factory=list)
    inputs: list[Id] = Field(default_factory=list)
    outputs: list[Id] = Field(default_factory=list)

    @property
    def has_ended(self) -> bool:
        return self.status in TERMINAL

    @property
    def was_running(self) -> bool:
        """Whether a process held the task: it was neither ready nor waiting for a time."""
        return self.status == "in_progress" and self.wake_at is None and not self.resumes


class AuditLine(_Part):
    """An entry of the audit log."""

    kind: Literal["audit"]
    id: Id
    at: Moment
    by: Name | None = None
    by_name: Annotated[str, Field(max_length=254)] = ""
    action: Annotated[str, Field(max_length=50)]
    target: Annotated[str, Field(max_length=200)] = ""
    address: Annotated[str, Field(max_length=64)] = ""
    details: dict[str, Any] = Field(default_factory=dict)


class End(_Part):
    """The last line of a whole export."""

    kind: Literal["end"]


Line = Header | UserLine | QuotaLine | QueueLine | FileLine | TaskLine | AuditLine | End
_MODELS: dict[str, type[Line]] = {
    get_args(model.model_fields["kind"].annotation)[0]: model for model in get_args(Line)
}
# In the order of a file, with the member that orders the lines of a kind.
KEYS = {
    "user": "username",
    "quota": "username",
    "queue": "name",
    "file": "id",
    "task": "id",
    "audit": "id",
}


class Position(NamedTuple):
    """A place in an export: after the line of this kind with this key."""

    kind: str
    key: str | int

    @classmethod
    def parse(cls, text: str) -> "Position":
        """Parse ``KIND:KEY``, for example ``task:17``. Raises ValueError."""
        kind, _, key = text.partition(":")
        if kind not in KEYS or not key:
            raise ValueError(f"{text}: expected KIND:ID, for example task:17")
        return cls(kind, int(key) if KEYS[kind] == "id" else key)

    @classmethod
    def after(cls, line: Line) -> "Position | None":
        """The place after a line; None after the header."""
        return cls(line.kind, getattr(line, KEYS[line.kind])) if line.kind in KEYS else None


def parse(number: int, raw: bytes) -> Line:
    """Read a line. Raises BadLine."""
    if not raw.endswith(b"\n"):
        raise BadLine(number, "incomplete_line", "the file ends within this line")
    try:
        members = _members(raw.decode())
    except UnicodeDecodeError:
        raise BadLine(number, "not_utf8", "the line is not UTF-8") from None
    except (ValueError, IndexError, RecursionError) as error:
        raise BadLine(number, "not_json", str(error) or type(error).__name__) from None
    kind = members.get("kind")
    if kind not in _MODELS:
        raise BadLine(number, "unknown_kind", f"{kind!r} is none of {', '.join(_MODELS)}")
    known = (VERSION, VERSION_WITH_FILES)
    if kind == "header" and members.get("version", VERSION) not in known:
        message = f"version {members['version']!r} is not known here, only 1 and 2"
        raise BadLine(number, "unknown_version", message)
    try:
        line = _MODELS[kind].model_validate(members)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise BadLine(number, first["type"], f"{place}: {first['msg']}") from None
    if isinstance(line, TaskLine):
        _check_times(number, line)
    return line


def schema() -> dict[str, Any]:
    """The JSON Schema of a line."""
    union = TypeAdapter(Annotated[Line, Field(discriminator="kind")])
    title = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": FORMAT}
    return title | union.json_schema()


def _check_times(number: int, line: TaskLine) -> None:
    if line.has_ended != (line.finished_at is not None):
        raise BadLine(number, "finished_at", f"it contradicts the status {line.status}")
    if line.wake_at is not None and line.has_ended:
        raise BadLine(number, "wake_at", f"it contradicts the status {line.status}")


def _members(text: str) -> dict[str, Any]:
    """The members of a JSON object; those in ``RAW`` as text. Raises ValueError, IndexError."""
    members: dict[str, Any] = {}
    place = _next(text, 0)
    if text[place] != "{":
        raise ValueError("the line is not a JSON object")
    while text[place] != "}":
        key, place = _DECODER.raw_decode(text, _next(text, place + 1))
        place = _next(text, place)
        if not isinstance(key, str) or text[place] != ":":
            raise ValueError("a name and a colon are expected")
        if key in members:
            raise ValueError(f"{key} is given twice")
        start = _next(text, place + 1)
        value, end = _DECODER.raw_decode(text, start)
        if _SUSPECT.search(text, start, end):
            _check_texts(value)
        raw = key in RAW and value is not None
        members[key] = text[start:end] if raw else value
        place = _next(text, end)
        if text[place] not in ",}":
            raise ValueError(f"a comma is expected after {key}")
    if text[place + 1 :].strip():
        raise ValueError("the line goes on after its JSON object")
    return members


def _next(text: str, place: int) -> int:
    """The place of the next character that is no white space."""
    if text[place] > " ":
        return place
    match = _SPACE.match(text, place)
    return match.end() if match else place


def _check_texts(value: Any) -> None:
    for text in _texts(value):
        if "\0" in text:
            raise ValueError("U+0000 cannot be stored")
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError("half of a surrogate pair is not a character") from None


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from _texts(item)


def _float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is too large")
    return number


def _constant(text: str) -> Any:
    raise ValueError(f"{text} is not a JSON number")


_DECODER = json.JSONDecoder(parse_float=_float, parse_constant=_constant)
