"""Read and write JSON exactly; refuse a text that two parsers could read differently.

The standard library reads, because it keeps large integers and shows every pair of an object, so
that a repeated key is found. orjson writes.
"""

import json
import math
import re
from typing import Any

import orjson
from django.utils.translation import gettext_lazy as _

from taskyard.catalog.schema import FieldError, InvalidInput, Path

DEPTH_LIMIT = 64
# More digits than any number that a computation can use; int() takes quadratic time on them.
DIGITS_LIMIT = 4300

_SUSPECT = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")
_LIKE_DIGITS = bytes.maketrans(b"123456789E", b"000000000e")
_ALL_BUT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


class InvalidJson(ValueError):
    """The text is not JSON that we read; ``message`` says where, as far as that is known."""

    def __init__(self, message: Any, **params: Any) -> None:
        self.message = message % params if params else message
        super().__init__(self.message)


def loads(raw: bytes) -> Any:
    """The value of a JSON text. Raises InvalidJson with the place, InvalidInput for U+0000.

    Refused besides what is not JSON: NaN and infinities, also spelt 1e400; a key given twice in
    one object; a byte order mark; text that is not Unicode; more than 64 levels.
    """
    if not raw.strip():
        return {}
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise InvalidJson(
            _("The body is not UTF-8 (byte %(position)s)."), position=error.start
        ) from None
    if text.startswith("\ufeff"):
        raise InvalidJson(_("The body begins with a byte order mark."))
    try:
        value = (_decode_warily if _may_be_large(raw) else _decode)(text)
    except json.JSONDecodeError as error:
        raise InvalidJson(
            _("The body is not JSON (line %(line)s, column %(column)s)."),
            line=error.lineno,
            column=error.colno,
        ) from None
    except RecursionError:
        raise _too_deep() from None
    if _may_be_deep(raw) or _SUSPECT.search(raw):
        _walk(value, (), 0)
    return value


def dumps(data: Any) -> bytes:
    """JSON text in UTF-8. Never fails on what the database may hold."""
    try:
        return orjson.dumps(data)
    except TypeError:
        # Integers beyond 64 bits, deep nesting: legal, only not for orjson.
        text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), default=str)
        return text.encode(errors="replace")


def _too_deep() -> InvalidJson:
    return InvalidJson(_("The body is nested more than %(limit)s levels deep."), limit=DEPTH_LIMIT)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise InvalidJson(_("A key is given twice in one object."))
    return found


def _number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise InvalidJson(_("A number is too large."))
    return number


def _integer(text: str) -> int:
    if len(text) > DIGITS_LIMIT:
        raise InvalidJson(_("A number is too large."))
    return int(text)


def _constant(text: str) -> Any:
    raise InvalidJson(_("%(name)s is not a JSON number."), name=text)


_decode = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant).decode
_decode_warily = json.JSONDecoder(
    object_pairs_hook=_object,
    parse_float=_number,
    parse_int=_integer,
    parse_constant=_constant,
).decode


def _may_be_large(raw: bytes) -> bool:
    """Whether it may hold a number that is too large; false where every number is an ordinary one.

    Three digits of exponent, or two hundred digits, are found faster than numbers are.
    """
    alike = raw.translate(_LIKE_DIGITS)
    return b"e000" in alike or b"e+000" in alike or b"0" * 200 in alike


def _may_be_deep(raw: bytes) -> bool:
    """False where it is not; brackets within strings may make it seem so.

    Each round takes the innermost brackets away, one level or two, at the speed of C.
    """
    if raw.count(b"[") + raw.count(b"{") <= DEPTH_LIMIT:
        return False
    brackets = raw.translate(None, _ALL_BUT_BRACKETS)
    for _round in range(DEPTH_LIMIT // 2):
        left = brackets.replace(b"[]", b"").replace(b"{}", b"")
        if left == brackets:
            break
        brackets = left
    return bool(brackets)


def _walk(value: Any, path: Path, depth: int) -> None:
    if depth > DEPTH_LIMIT:
        raise _too_deep()
    if isinstance(value, str):
        _check_text(value, path)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            if isinstance(item, (str, list, dict)):
                _walk(item, (*path, index), depth + 1)
    elif isinstance(value, dict):
        for key, item in value.items():
            _check_text(key, path)
            if isinstance(item, (str, list, dict)):
                _walk(item, (*path, key), depth + 1)


def _check_text(text: str, path: Path) -> None:
    if "\0" in text:
        message = "Null characters are not allowed."
        raise InvalidInput([FieldError(path, "null_characters_not_allowed", message)])
    try:
        text.encode()
    except UnicodeEncodeError:
        message = "Half of a surrogate pair is not a character."
        raise InvalidInput([FieldError(path, "parse_error", message)]) from None
