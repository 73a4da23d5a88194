"""Encode request bodies, and split many tasks into chunks that the API accepts."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from taskyard.client.models import FileRecord, NewTask

LARGEST_CHUNK = 1000
# The API accepts 8 MiB.
LARGEST_BODY = 7 * 1024 * 1024


def _file_id(value: object) -> int:
    """A file in an input is its id."""
    if isinstance(value, FileRecord):
        return value.id
    raise TypeError(f"{value!r} is not JSON; only submit uploads a Path")


_COMPACT: Any = {"allow_nan": False, "separators": (",", ":"), "default": _file_id}


def encode_json(body: Any) -> bytes:
    """Encode a value as JSON in UTF-8. Raises ValueError for NaN and infinity."""
    try:
        return json.dumps(body, ensure_ascii=False, **_COMPACT).encode()
    except UnicodeEncodeError:
        # Send a lone surrogate escaped: the server reports the field that contains it.
        return json.dumps(body, **_COMPACT).encode()


def split_into_chunks(
    tasks: Iterable[NewTask | Mapping[str, Any] | bytes], size: int
) -> Iterator[tuple[int, list[bytes]]]:
    """Encode the tasks and split them into chunks: the index of the first task, and the bodies.

    The same tasks in the same order give the same chunks, which idempotency keys need.
    """
    first, bodies, length = 0, list[bytes](), 0
    for task in tasks:
        if isinstance(task, bytes):
            body = task
        else:
            body = encode_json(task.body() if isinstance(task, NewTask) else task)
        if bodies and (len(bodies) >= size or length + len(body) > LARGEST_BODY):
            yield first, bodies
            first, bodies, length = first + len(bodies), [], 0
        bodies.append(body)
        length += len(body) + 1
    if bodies:
        yield first, bodies
