"""JSON that every database can keep."""

import json
from typing import Any


class TooLarge(ValueError):
    """The JSON text has more bytes than allowed."""


def encode_json(value: Any, *, limit: int | None = None) -> str:
    """``value`` as JSON text of at most ``limit`` bytes.

    Raises TypeError or ValueError for what is not JSON (NaN and lone surrogates included) and for
    U+0000, which PostgreSQL refuses in ``jsonb``; TooLarge beyond the limit.
    """
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        size = len(text.encode())
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if "\\u0000" in text:
        raise ValueError("U+0000 cannot be stored")
    if limit is not None and size > limit:
        raise TooLarge(f"{size} bytes, the limit is {limit}")
    return text


def sanitize(text: str) -> str:
    """``text`` without what no database keeps: U+0000 and lone surrogates are replaced."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode(errors="replace").decode()
