"""The exceptions of the client. ``code`` does not depend on the language; ``detail`` does."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any


def json_pointer(path: Iterable[str | int]) -> str:
    """A path as a JSON pointer (RFC 6901)."""
    return "".join(f"/{str(step).replace('~', '~0').replace('/', '~1')}" for step in path)


class TaskyardError(Exception):
    """Base class of the client's exceptions."""


class ConnectionFailed(TaskyardError):
    """The server did not answer, or not with JSON, until the client gave up."""


class WaitTimeout(TaskyardError, TimeoutError):
    """The task had not ended after the ``timeout`` of `wait`."""

    def __init__(self, task_id: int, seconds: float) -> None:
        super().__init__(f"task {task_id} has not ended after {seconds:g} s")
        self.task_id = task_id


@dataclass(frozen=True)
class FieldError:
    """One error in a request: a JSON pointer, a code and a message."""

    pointer: str
    code: str
    detail: str

    @property
    def steps(self) -> list[str]:
        """The unescaped parts of the pointer."""
        steps = self.pointer.split("/")[1:]
        return [step.replace("~1", "/").replace("~0", "~") for step in steps]


class TransferFailed(TaskyardError):
    """The bytes of a file changed on their way, or while they were sent."""


class ApiError(TaskyardError):
    """The server answered with an error."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        errors: Sequence[FieldError] = (),
        *,
        retry_after: float | None = None,
    ) -> None:
        lines = [f"\n  {error.pointer}: {error.detail}" for error in errors if error.pointer]
        super().__init__(detail + "".join(lines))
        self.status = status
        self.code = code
        self.detail = detail
        self.errors = tuple(errors)
        self.retry_after = retry_after

    def offset_pointers(self, first: int) -> None:
        """Add ``first``, the number of tasks in earlier chunks, to the indexes of ``errors``."""
        self.errors = tuple(_with_offset(error, first) for error in self.errors)


class AuthenticationError(ApiError):
    """The token is missing, invalid or expired (401)."""


class RequestRejected(ApiError):
    """The server refuses this request; sending it again does not help."""


class InvalidRequest(RequestRejected):
    """The request is invalid (400); ``errors`` names the fields."""


class ActiveLimitExceeded(InvalidRequest):
    """The quota of active tasks is used up (400)."""


class NotFound(RequestRejected):
    """The object does not exist or belongs to another user (404)."""


class Conflict(RequestRejected):
    """The state of the task or the file does not allow the request (409)."""


class FileInUse(Conflict):
    """A task that has not ended uses the file (409)."""


class FileTooLarge(RequestRejected):
    """The file has more bytes than the server or the task type accepts (413)."""


class FilesLimitExceeded(RequestRejected):
    """The user's files take as many bytes as allowed (507)."""


class IdempotencyKeyReused(RequestRejected):
    """The Idempotency-Key was used with another request (422)."""


class RateLimited(ApiError):
    """Too many requests (429); ``retry_after`` is in seconds."""


class Unavailable(ApiError, ConnectionFailed):
    """The service was unavailable (502, 503, 504) until the client gave up."""


_BY_CODE: dict[str, type[ApiError]] = {
    "active_limit_exceeded": ActiveLimitExceeded,
    "file_in_use": FileInUse,
    "file_too_large": FileTooLarge,
    "files_limit_exceeded": FilesLimitExceeded,
}
_BY_STATUS: dict[int, type[ApiError]] = {
    400: InvalidRequest,
    401: AuthenticationError,
    404: NotFound,
    409: Conflict,
    422: IdempotencyKeyReused,
    429: RateLimited,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
    507: RequestRejected,
}


def error_from_response(status: int, headers: Mapping[str, str], body: bytes) -> ApiError:
    """The exception for an error response: a problem document (RFC 9457), or any other body."""
    try:
        problem: Any = json.loads(body)
    except ValueError:
        problem = None
    if not isinstance(problem, dict) or not isinstance(problem.get("detail"), str):
        # The response comes from a proxy, or from another service.
        problem = {"code": "unknown", "detail": f"The server answered {status}."}
    code = str(problem.get("code", "unknown"))
    kind = (
        _BY_CODE.get(code)
        or _BY_STATUS.get(status)
        or (RequestRejected if status < 500 else ApiError)
    )
    return kind(
        status,
        code,
        problem["detail"],
        [
            FieldError(str(item["pointer"]), str(item["code"]), str(item["detail"]))
            for item in problem.get("errors") or ()
            if isinstance(item, dict) and {"pointer", "code", "detail"} <= item.keys()
        ],
        retry_after=_parse_retry_after(headers.get("Retry-After")),
    )


def _with_offset(error: FieldError, first: int) -> FieldError:
    match error.steps:
        case ["tasks", number, *_] if number.isdecimal():
            rest = error.pointer.removeprefix(f"/tasks/{number}")
            return replace(error, pointer=f"/tasks/{first + int(number)}{rest}")
    return error


def _parse_retry_after(text: str | None) -> float | None:
    try:
        return None if text is None else max(0.0, float(text))
    except ValueError:  # an HTTP date, which the server does not send
        return None
