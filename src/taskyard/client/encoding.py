"""Requests' bodies as bytes, and many tasks in as few of them as the API takes."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from taskyard.client.models import NewTask

LARGEST_CHUNK = 1000
# The API takes 8 MiB; a chunk with one task less is still a good one.
LARGEST_BODY = 7 * 1024 * 1024
_COMPACT: Any = {"allow_nan": False, "separators": (",", ":")}


def encoded(body: Any) -> bytes:
    """JSON in UTF-8. Raises ValueError for what JSON does not know: NaN, infinity."""
    try:
        return json.dumps(body, ensure_ascii=False, **_COMPACT).encode()
    except UnicodeEncodeError:
        # Half a surrogate pair, escaped: the server says what is wrong with it, and where.
        return json.dumps(body, **_COMPACT).encode()


def chunks(
    tasks: Iterable[NewTask | Mapping[str, Any] | bytes], size: int
) -> Iterator[tuple[int, list[bytes]]]:
    """Tasks as bodies in groups, each with the number of its first. The same tasks in the same
    order make the same groups."""
    first, group, length = 0, list[bytes](), 0
    for task in tasks:
        if isinstance(task, bytes):
            body = task
        else:
            body = encoded(task.body() if isinstance(task, NewTask) else task)
        if group and (len(group) >= size or length + len(body) > LARGEST_BODY):
            yield first, group
            first, group, length = first + len(group), [], 0
        group.append(body)
        length += len(body) + 1
    if group:
        yield first, group
