"""Submit tasks from the code of a Django project: ``from taskyard import jobs``.

The tasks belong to the caller's transaction: workers see them after its commit, and a rollback
removes them. A submit is validated like one over HTTP and raises InvalidInput.
"""

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Literal, TypedDict, Unpack

import orjson
from django.contrib.auth.base_user import AbstractBaseUser
from django.db import transaction

from taskyard.catalog.schema import FieldError, InvalidInput
from taskyard.core import intake, lifecycle, strict_json
from taskyard.core.errors import NotCancellable, QuotaExceeded
from taskyard.core.models import Task
from taskyard.core.types import NewTask, UserId

__all__ = [
    "InvalidInput",
    "NotCancellable",
    "Options",
    "QuotaExceeded",
    "cancel",
    "get",
    "submit",
    "submit_many",
]
# One statement inserts so many tasks.
BATCH = 1000


class Options(TypedDict, total=False):
    """The options of a submit; the task type has the defaults.

    ``owner`` None makes a system task: no quota counts it, and only staff see it. ``run_at`` is
    aware; ``delay`` and ``timeout`` are in seconds.
    """

    owner: AbstractBaseUser | None
    run_at: datetime | None
    delay: float | None
    priority: Literal["low", "normal", "high"] | None
    max_attempts: int | None
    timeout: float | None
    tags: Sequence[str] | None


def submit(task_type: str, input_data: dict[str, Any], **options: Unpack[Options]) -> Task:
    """Submit a task. Raises InvalidInput; with an owner also QuotaExceeded."""
    owner_id, request = _read(options)
    return lifecycle.submit(owner_id, _new(task_type, input_data, request))


def submit_many(
    task_type: str, inputs: Iterable[dict[str, Any]], **options: Unpack[Options]
) -> list[int]:
    """Submit a task for each input, all or none; their ids in this order. Raises like ``submit``.

    Much faster than a call of ``submit`` for each.
    """
    owner_id, request = _read(options)
    new = [_new(task_type, input_data, request) for input_data in inputs]
    with transaction.atomic():
        return [
            task_id
            for first in range(0, len(new), BATCH)
            for task_id in lifecycle.submit_all(owner_id, new[first : first + BATCH])
        ]


def get(task_id: int) -> Task:
    """The task as it is now. Raises Task.DoesNotExist."""
    return Task.objects.defer("checkpoint").get(id=task_id)


def cancel(task_id: int) -> Task:
    """Cancel a waiting task at once, or request that a running attempt stops; the task then.

    Raises NotCancellable if it has completed or failed, Task.DoesNotExist.
    """
    return lifecycle.cancel(task_id, by_id=None)


def _read(options: Options) -> tuple[UserId | None, dict[str, Any]]:
    """The owner's id, and the other options as they are in a request."""
    request: dict[str, Any] = {name: v for name, v in options.items() if v is not None}
    if (owner := request.pop("owner", None)) is None:
        owner_id = None
    elif (owner_id := owner.pk) is None:
        raise ValueError("The owner has no primary key: the user is anonymous or not saved.")
    if isinstance(run_at := request.get("run_at"), datetime):
        request["run_at"] = run_at.isoformat()
    if "tags" in request:
        request["tags"] = list(request["tags"])
    return owner_id, request


def _new(task_type: str, input_data: dict[str, Any], request: dict[str, Any]) -> NewTask:
    task = {**request, "task_type": task_type, "input_data": _as_json(input_data)}
    return intake.parse_task(task)


def _as_json(input_data: dict[str, Any]) -> Any:
    """The input as JSON has it: a UUID or a time becomes text. Raises InvalidInput."""
    try:
        text = _encode(input_data)
        if len(text) > intake.BODY_LIMIT:
            raise intake.too_large()
        return strict_json.loads(text)
    except InvalidInput as error:
        raise InvalidInput(intake.prefix_errors(("input_data",), error)) from None
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInput([FieldError(("input_data",), "not_json", str(error))]) from None


def _encode(input_data: dict[str, Any]) -> bytes:
    try:
        text = orjson.dumps(input_data)
    except TypeError:  # also integers beyond 64 bits, and half of a surrogate pair
        text = b"null"
    if b"null" not in text:
        return text
    # orjson writes a NaN as null.
    return json.dumps(input_data, allow_nan=False, default=_encode_value).encode()


def _encode_value(value: Any) -> Any:
    return orjson.loads(orjson.dumps(value))
