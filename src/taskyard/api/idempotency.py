"""The Idempotency-Key header: a repeated request creates no second task."""

import re
from collections.abc import Callable, Sequence
from typing import Any

from rest_framework.request import Request

from taskyard.core import encryption, idempotency
from taskyard.core.errors import Rejected
from taskyard.core.models import Task
from taskyard.core.types import NewTask

REPLAYED = {"Idempotency-Replayed": "true"}
PRINTABLE = re.compile(r"[\x20-\x7e]{1,255}")


class KeyInvalid(Rejected):
    """The header is not a key of 1 to 255 printable ASCII characters."""

    code = "idempotency_key_invalid"


class TaskDeleted(Rejected):
    """The task that was submitted with this key has been deleted."""

    code = "idempotent_task_deleted"


def key_of(request: Request) -> str | None:
    """The key of a request, or None. Raises KeyInvalid."""
    key = request.META.get("HTTP_IDEMPOTENCY_KEY")
    if key is not None and not PRINTABLE.fullmatch(key):
        raise KeyInvalid
    return key


def submit_once(
    owner_id: int, key: str, body: Any, new: Sequence[NewTask], *, endpoint: str
) -> tuple[list[int], bool]:
    """The ids of the tasks, and whether the request is a repetition. Raises as core's does."""
    fingerprint = idempotency.fingerprint(endpoint, body, has_secrets=encryption.are_in(new))
    return idempotency.submit_once(owner_id, key, fingerprint, new)


def retry_once(
    owner_id: int, key: str, task_id: str, retry: Callable[[], Task]
) -> tuple[Task, bool]:
    """The new task of a retry, and whether the request is a repetition.

    Two retries are the same request if they name the same task, because a retry has no body. Raises
    as core's does, and TaskDeleted.
    """
    fingerprint = idempotency.fingerprint("retry", int(task_id))
    ids, replayed = idempotency.once(owner_id, key, fingerprint, lambda: [retry().pk])
    return task_of(owner_id, ids[0]), replayed


def task_of(owner_id: int, task_id: int) -> Task:
    """The current state of the task that was submitted with a key. Raises TaskDeleted."""
    task = Task.objects.get_owned(owner_id, task_id)
    if task is None:
        raise TaskDeleted
    return task
