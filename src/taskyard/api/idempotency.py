"""The Idempotency-Key header: the same request again makes nothing new."""

import hashlib
import json
import re
from collections.abc import Sequence
from typing import Any

import orjson
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
    return idempotency.submit_once(owner_id, key, fingerprint(endpoint, body), new)


def fingerprint(endpoint: str, body: Any) -> str:
    """The same for bodies that say the same, whatever the order of their keys."""
    try:
        canonical = orjson.dumps(body, option=orjson.OPT_SORT_KEYS)
    except TypeError:  # integers beyond 64 bits
        canonical = json.dumps(body, sort_keys=True).encode()
    return hashlib.sha256(b"%s\n%s" % (endpoint.encode(), canonical)).hexdigest()
