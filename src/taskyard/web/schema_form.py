"""Convert an input to the texts of its form fields, and back.

The form validates little: text that is not a number stays text, and the catalog reports the error
and its path. A value that no other field can express gets a field with JSON.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast
from zoneinfo import ZoneInfo

from taskyard.catalog.schema import FieldError, InvalidInput, Path
from taskyard.core import messages, strict_json
from taskyard.web.fields import ABSENT, Field, row_count
from taskyard.web.view_helpers import format_path

# A list with more objects is edited as JSON.
MAX_ROWS = 50

FREE_TEXT = ("text", "long", "secret")
NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?", re.ASCII)
NUMBER_CHARACTERS = set("0123456789+-.,'\u2019 \u00a0\u202f")
ZONE_NAME = re.compile(r"[A-Za-z0-9_+-]{1,64}(?:/[A-Za-z0-9_+-]{1,64}){0,3}", re.ASCII)


def non_empty_lines(text: str) -> list[str]:
    """The values of a list from a text with one value per line."""
    return [line for line in text.split("\n") if line.strip()]


def field_texts(field: Field, value: Any) -> dict[str, str]:
    """The texts of a field, and of those within it, for a value; by field name."""
    if field.kind == "object":
        return form_texts(field.fields, value if isinstance(value, Mapping) else {})
    if field.kind == "rows":
        return _row_texts(field, value)
    return {field.name: "" if value is ABSENT else _to_text(field, value)}


def form_texts(fields: Iterable[Field], data: Mapping[str, Any]) -> dict[str, str]:
    """The texts of all fields for an input, by field name."""
    texts: dict[str, str] = {}
    for field in fields:
        texts |= field_texts(field, data.get(str(field.path[-1]), field.default))
    return texts


def parse(fields: Iterable[Field], typed: Mapping[str, str]) -> dict[str, Any]:
    """Parse the typed texts to an input. Raises InvalidInput for invalid JSON."""
    data: dict[str, Any] = {}
    field_errors: list[FieldError] = []
    for field in fields:
        try:
            value = _parse_field(field, typed)
        except InvalidInput as error:
            field_errors += error.field_errors
            continue
        if value is not ABSENT:
            data[str(field.path[-1])] = value
    if field_errors:
        raise InvalidInput(field_errors)
    return data


def errors_by_field(
    fields: Iterable[Field], field_errors: Iterable[FieldError], typed: Mapping[str, str]
) -> dict[str, list[str]]:
    """The error messages of an input by the name of the innermost field; "" if there is none.

    For an error in a list, the name of the item is a key too, with no messages.
    """
    known = {each.path: each for field in fields for each in field.walk(typed)}
    by_field: dict[str, list[str]] = {}
    for field_error in field_errors:
        length = len(field_error.path)
        while length and field_error.path[:length] not in known:
            length -= 1
        rest = format_path(field_error.path[length:])
        text = messages.of_field_error(field_error)
        name = known[field_error.path[:length]].name if length else ""
        by_field.setdefault(name, []).append(f"{rest}: {text}" if rest else text)
        if length < len(field_error.path) and name:
            by_field.setdefault(f"{name}/{field_error.path[length]}", [])
    return by_field


def pretty_json(value: Any) -> str:
    """A value as indented JSON, without loss of digits."""
    return json.dumps(value, ensure_ascii=False, indent=2)


def _row_texts(field: Field, value: Any) -> dict[str, str]:
    if value is ABSENT or value is None:
        values: list[Any] = [ABSENT] * (field.min_items if field.needed else 0)
    else:
        values = value if isinstance(value, list) else []
    texts = {field.name: "\n".join(map(str, range(len(values))))}
    for index, row in enumerate(values[: MAX_ROWS + 1]):
        texts |= field_texts(field.row(index), row)
    return texts


def _to_text(field: Field, value: Any) -> str:
    if value is None:
        return ""
    if field.kind == "json":
        return pretty_json(value)
    if field.kind == "list" and isinstance(value, list):
        return "\n".join(map(value_text, value))
    return value_text(value)


def value_text(value: Any) -> str:
    """A value on one line: a string unchanged, any other value as JSON."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _parse_field(field: Field, typed: Mapping[str, str]) -> Any:
    """The value of a field, ABSENT if it has none. Raises InvalidInput."""
    if _is_empty(field, typed):
        return _empty_value(field)
    if field.kind == "object":
        return parse(field.fields, typed)
    if field.kind == "rows":
        return _parse_rows(field, typed)
    if field.kind == "list":
        return _parse_list(field, typed)
    return _parse_text(field, typed.get(field.name, ""), typed.get("zone", ""))


def _is_empty(field: Field, typed: Mapping[str, str]) -> bool:
    """Whether the field is empty; an optional object is empty if it has only its defaults."""
    text = typed.get(field.name, "")
    if field.kind == "boolean":
        return False
    if field.kind == "rows":
        return not row_count(field, typed)
    if field.kind == "object":
        blank = field_texts(field, ABSENT)
        untouched = all(typed.get(name, "") == value for name, value in blank.items())
        return untouched and not field.needed and field.default in (ABSENT, None)
    if field.kind == "choice" and None in field.choices:
        return False
    if field.kind in FREE_TEXT and not field.needed:
        return not text
    return not text.strip()


def _empty_value(field: Field) -> Any:
    """The value of an empty field: null, the empty value if a default was cleared, or ABSENT."""
    cleared = field.default not in (ABSENT, None)
    if field.nullable and (field.required or cleared):
        return None
    if cleared and isinstance(field.default, str) and field.kind in FREE_TEXT and field.default:
        return ""
    if isinstance(field.default, list) and field.kind in ("list", "rows"):
        return []
    return ABSENT


def _parse_rows(field: Field, typed: Mapping[str, str]) -> list[Any]:
    values: list[Any] = []
    field_errors: list[FieldError] = []
    for row in field.children(typed):
        try:
            values.append(parse(row.fields, typed))
        except InvalidInput as error:
            field_errors += error.field_errors
    if field_errors:
        raise InvalidInput(field_errors)
    return values


def _parse_list(field: Field, typed: Mapping[str, str]) -> list[Any]:
    item = cast("Field", field.item)
    values: list[Any] = []
    field_errors: list[FieldError] = []
    for index, line in enumerate(non_empty_lines(typed.get(field.name, ""))):
        try:
            values.append(_parse_text(item, line, typed.get("zone", "")))
        except InvalidInput as error:
            field_errors += [
                replace(field_error, path=(*field.path, index))
                for field_error in error.field_errors
            ]
    if field_errors:
        raise InvalidInput(field_errors)
    return values


def _parse_text(field: Field, text: str, zone: str) -> Any:
    """The value of a field with one text. Raises InvalidInput."""
    if field.kind == "boolean" and not field.choices and text in ("true", "false", ""):
        return text == "true"
    if field.kind in ("choice", "boolean"):
        return next((choice for choice in field.choices if value_text(choice) == text), text)
    if field.kind == "json":
        return _parse_json(field, text)
    if field.kind in FREE_TEXT:
        return text
    if field.kind == "file":
        return parse_number(text)
    if field.kind in ("integer", "number"):
        _reject_comma(field, text)
        return parse_number(text)
    return to_utc(text, zone) if field.kind == "datetime" else text.strip()


def parse_number(text: str) -> Any:
    """The number, or the text if it is not a number."""
    text = text.strip()
    if len(text) <= strict_json.DIGITS_LIMIT and NUMBER.fullmatch(text):
        try:
            return strict_json.loads(text.encode())
        except strict_json.InvalidJson:
            pass
    return text


def comma_error(path: Path, text: str) -> FieldError | None:
    """The error of a number with a comma, which may separate thousands or decimals."""
    if "," not in text or not NUMBER_CHARACTERS.issuperset(text.strip()):
        return None
    message = "A number is expected, its fraction after a point: 1.5, not 1,5."
    return FieldError(path, "number_with_comma", message)


def _reject_comma(field: Field, text: str) -> None:
    if field_error := comma_error(field.path, text):
        raise InvalidInput([field_error])


def to_utc(text: str, zone: str) -> str:
    """Convert a time to UTC; return the text if it is not a time or the zone is unknown."""
    text = text.strip()
    try:
        time = datetime.fromisoformat(text)
        if time.tzinfo is None:
            time = time.replace(tzinfo=parse_zone(zone))
        return time.astimezone(UTC).isoformat().replace("+00:00", "Z")
    except (ValueError, OverflowError):
        return text


def parse_zone(name: str) -> Any:
    """The time zone of this name; UTC for "". Raises ValueError."""
    if not name:
        return UTC
    if ZONE_NAME.fullmatch(name):
        try:
            return ZoneInfo(name)
        except (LookupError, OSError):
            pass
    raise ValueError(name)


def needs_zone(text: str) -> bool:
    """Whether a text is a time without a time zone."""
    try:
        return datetime.fromisoformat(text.strip()).tzinfo is None
    except ValueError:
        return False


def _parse_json(field: Field, text: str) -> Any:
    try:
        return strict_json.loads(text.encode())
    except strict_json.InvalidJson as error:
        raise InvalidInput(
            [FieldError(field.path, "json_unreadable", str(error.message))]
        ) from None
    except InvalidInput as error:
        field_errors = [
            FieldError(
                (*field.path, *field_error.path),
                field_error.code,
                field_error.message,
                field_error.context,
            )
            for field_error in error.field_errors
        ]
        raise InvalidInput(field_errors) from None
