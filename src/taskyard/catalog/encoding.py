"""Encode JSON and text that both databases can store."""

import json
from typing import Any


class TooLarge(ValueError):
    """The JSON text has more bytes than allowed."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"{size} bytes, the limit is {limit}")
        self.size = size
        self.limit = limit


def encode_json(value: Any, *, limit: int | None = None) -> str:
    """Encode ``value`` as JSON text of at most ``limit`` bytes.

    Raises TypeError or ValueError for a value that is not JSON (also NaN and lone surrogates) and
    for U+0000, which PostgreSQL refuses in ``jsonb``; TooLarge above the limit.
    """
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        size = len(text.encode())
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if "\\u0000" in text:
        raise ValueError("U+0000 cannot be stored")
    if limit is not None and size > limit:
        raise TooLarge(size, limit)
    return text


def sanitize(text: str) -> str:
    """Replace the characters that databases cannot store: U+0000 and lone surrogates."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode(errors="replace").decode()
