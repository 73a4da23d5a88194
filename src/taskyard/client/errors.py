"""What can go wrong, typed. ``code`` does not depend on the language; the texts do."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any


class TaskyardError(Exception):
    """Everything that the client raises by itself."""


class ConnectionFailed(TaskyardError):
    """No answer, or none that makes sense, for as long as the client tried."""


class WaitTimeout(TaskyardError, TimeoutError):
    """The task had not ended when the time given to `wait` was over."""

    def __init__(self, task_id: int, seconds: float) -> None:
        super().__init__(f"task {task_id} has not ended after {seconds:g} s")
        self.task_id = task_id


@dataclass(frozen=True)
class FieldError:
    """One thing wrong with a request: where, as a JSON pointer, which kind, in words."""

    pointer: str
    code: str
    detail: str

    @property
    def steps(self) -> list[str]:
        """The way to the place, step by step."""
        steps = self.pointer.split("/")[1:]
        return [step.replace("~1", "/").replace("~0", "~") for step in steps]


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
        places = "".join(f"\n  {each.pointer}: {each.detail}" for each in errors if each.pointer)
        super().__init__(f"{detail}{places}")
        self.status = status
        self.code = code
        self.detail = detail
        self.errors = tuple(errors)
        self.retry_after = retry_after

    def count_from(self, first: int) -> None:
        """Let the places in a chunk count the tasks from the first of all chunks."""
        self.errors = tuple(_counted(each, first) for each in self.errors)


class AuthenticationError(ApiError):
    """No token, or none that is valid any more (401)."""


class RequestRejected(ApiError):
    """The request cannot be done as it is; the same again will not help."""


class InvalidRequest(RequestRejected):
    """The request is wrong (400); ``errors`` say where."""


class ActiveLimitExceeded(InvalidRequest):
    """As many tasks are active as the quota allows (400)."""


class NotFound(RequestRejected):
    """There is no such object, or it belongs to another user (404)."""


class Conflict(RequestRejected):
    """The state of the task does not allow it (409)."""


class IdempotencyKeyReused(RequestRejected):
    """The Idempotency-Key was used with another request (422)."""


class RateLimited(ApiError):
    """Too often (429); ``retry_after`` is in seconds."""


class Unavailable(ApiError, ConnectionFailed):
    """The service is away (502, 503, 504) and did not come back in time."""


_BY_CODE: dict[str, type[ApiError]] = {"active_limit_exceeded": ActiveLimitExceeded}
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


def error_of(status: int, headers: Mapping[str, str], body: bytes) -> ApiError:
    """The exception for an answer that is an error (RFC 9457, or whatever a proxy says)."""
    try:
        problem: Any = json.loads(body)
    except ValueError:
        problem = None
    if not isinstance(problem, dict) or not isinstance(problem.get("detail"), str):
        # Not ours: a proxy in front, or another service altogether.
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
            FieldError(str(each["pointer"]), str(each["code"]), str(each["detail"]))
            for each in problem.get("errors") or ()
            if isinstance(each, dict) and {"pointer", "code", "detail"} <= each.keys()
        ],
        retry_after=_seconds(headers.get("Retry-After")),
    )


def _counted(error: FieldError, first: int) -> FieldError:
    match error.steps:
        case ["tasks", number, *_] if number.isdecimal():
            rest = error.pointer.removeprefix(f"/tasks/{number}")
            return replace(error, pointer=f"/tasks/{first + int(number)}{rest}")
    return error


def _seconds(text: str | None) -> float | None:
    try:
        return None if text is None else max(0.0, float(text))
    except ValueError:  # a date, which our server never says
        return None
