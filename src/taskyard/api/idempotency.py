"""The Idempotency-Key header: the same request again makes nothing new."""

import re
from collections.abc import Sequence
from typing import Any

from rest_framework.request import Request

from taskyard.core import idempotency
from taskyard.core.errors import Refusal
from taskyard.core.values import NewTask

REPLAYED = {"Idempotency-Replayed": "true"}
PRINTABLE = re.compile(r"[\x20-\x7e]{1,255}")


class KeyInvalid(Refusal):
    """The header is no key: 1 to 255 printable ASCII characters."""

    code = "idempotency_key_invalid"


class TaskDeleted(Refusal):
    """The request was accepted under this key, and its task has been deleted since."""

    code = "idempotent_task_deleted"


def key_of(request: Request) -> str | None:
    """The key of a request, if it has one; raises KeyInvalid."""
    key = request.META.get("HTTP_IDEMPOTENCY_KEY")
    if key is not None and not PRINTABLE.fullmatch(key):
        raise KeyInvalid
    return key


def submit_once(
    owner_id: int, key: str, body: Any, new: Sequence[NewTask], *, endpoint: str
) -> tuple[list[int], bool]:
    """The ids of the tasks, and whether they were there before. Raises as core's does."""
    return idempotency.submit_once(owner_id, key, idempotency.fingerprint(endpoint, body), new)
