"""From an input to what stands in the fields of its form, and from what was typed back to it.

A form checks little: what it cannot read as a number goes on as text, and the catalog says what
is wrong and where. What no field can say exactly is a field of JSON.
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
from taskyard.web.view_helpers import place

# More objects than this in one list are written as JSON.
MOST_ROWS = 50

FREE_TEXT = ("text", "long", "secret")
NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?", re.ASCII)
OF_NUMBERS = set("0123456789+-.,'\u2019 \u00a0\u202f")
ZONE_NAME = re.compile(r"[A-Za-z0-9_+-]{1,64}(?:/[A-Za-z0-9_+-]{1,64}){0,3}", re.ASCII)


def lines_of(text: str) -> list[str]:
    """The values of a list, one a line; an empty line is none."""
    return [line for line in text.split("\n") if line.strip()]


def written(field: Field, value: Any) -> dict[str, str]:
    """What stands in the field, and in those within it, for a value; by name."""
    if field.kind == "object":
        known = value if isinstance(value, Mapping) else {}
        found: dict[str, str] = {}
        for each in field.fields:
            found |= written(each, known.get(str(each.path[-1]), each.default))
        return found
    if field.kind == "rows":
        return _written_rows(field, value)
    return {field.name: "" if value is ABSENT else _text(field, value)}


def written_all(fields: Iterable[Field], data: Mapping[str, Any]) -> dict[str, str]:
    found: dict[str, str] = {}
    for field in fields:
        found |= written(field, data.get(str(field.path[-1]), field.default))
    return found


def read(fields: Iterable[Field], typed: Mapping[str, str]) -> dict[str, Any]:
    """The input that was typed. Raises InvalidInput for JSON that is none."""
    data: dict[str, Any] = {}
    field_errors: list[FieldError] = []
    for field in fields:
        try:
            value = _value(field, typed)
        except InvalidInput as error:
            field_errors += error.field_errors
            continue
        if value is not ABSENT:
            data[str(field.path[-1])] = value
    if field_errors:
        raise InvalidInput(field_errors)
    return data


def texts(
    fields: Iterable[Field], field_errors: Iterable[FieldError], typed: Mapping[str, str]
) -> dict[str, list[str]]:
    """What is wrong with an input, by the name of the innermost field; "" for what has none.

    A value of a list is marked besides, by the name of its place.
    """
    known = {each.path: each for field in fields for each in field.every(typed)}
    found: dict[str, list[str]] = {}
    for field_error in field_errors:
        length = len(field_error.path)
        while length and field_error.path[:length] not in known:
            length -= 1
        within = place(field_error.path[length:])
        text = messages.of_field_error(field_error)
        name = known[field_error.path[:length]].name if length else ""
        found.setdefault(name, []).append(f"{within}: {text}" if within else text)
        if length < len(field_error.path) and name:
            found.setdefault(f"{name}/{field_error.path[length]}", [])
    return found


def exactly(value: Any) -> str:
    """A value as JSON that people can read and change, every digit of it."""
    return json.dumps(value, ensure_ascii=False, indent=2)


def _written_rows(field: Field, value: Any) -> dict[str, str]:
    if value is ABSENT or value is None:
        values: list[Any] = [ABSENT] * (field.least if field.needed else 0)
    else:
        values = value if isinstance(value, list) else []
    found = {field.name: "\n".join(map(str, range(len(values))))}
    for index, each in enumerate(values[: MOST_ROWS + 1]):
        found |= written(field.row(index), each)
    return found


def _text(field: Field, value: Any) -> str:
    if value is None:
        return ""
    if field.kind == "json":
        return exactly(value)
    if field.kind == "list" and isinstance(value, list):
        return "\n".join(map(option_text, value))
    return option_text(value)


def option_text(value: Any) -> str:
    """A value on one line: a string as it is, anything else as JSON."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _value(field: Field, typed: Mapping[str, str]) -> Any:
    """Raises InvalidInput."""
    if _is_empty(field, typed):
        return _nothing(field)
    if field.kind == "object":
        return read(field.fields, typed)
    if field.kind == "rows":
        return _row_values(field, typed)
    if field.kind == "list":
        return _items(field, typed)
    return _single(field, typed.get(field.name, ""), typed.get("zone", ""))


def _is_empty(field: Field, typed: Mapping[str, str]) -> bool:
    """Whether nothing was typed; of an object, nothing but what stood there from the start."""
    text = typed.get(field.name, "")
    if field.kind == "boolean":
        return False
    if field.kind == "rows":
        return not row_count(field, typed)
    if field.kind == "object":
        blank = written(field, ABSENT)
        untouched = all(typed.get(name, "") == value for name, value in blank.items())
        return untouched and not field.needed and field.default in (ABSENT, None)
    if field.kind == "choice" and None in field.choices:
        return False
    if field.kind in FREE_TEXT and not field.needed:
        return not text
    return not text.strip()


def _nothing(field: Field) -> Any:
    """What an empty field stands for: null, the empty value of a changed default, or no value."""
    cleared = field.default not in (ABSENT, None)
    if field.nullable and (field.required or cleared):
        return None
    if cleared and isinstance(field.default, str) and field.kind in FREE_TEXT and field.default:
        return ""
    if isinstance(field.default, list) and field.kind in ("list", "rows"):
        return []
    return ABSENT


def _row_values(field: Field, typed: Mapping[str, str]) -> list[Any]:
    values: list[Any] = []
    field_errors: list[FieldError] = []
    for row in field.within(typed):
        try:
            values.append(read(row.fields, typed))
        except InvalidInput as error:
            field_errors += error.field_errors
    if field_errors:
        raise InvalidInput(field_errors)
    return values


def _items(field: Field, typed: Mapping[str, str]) -> list[Any]:
    item = cast("Field", field.item)
    values: list[Any] = []
    field_errors: list[FieldError] = []
    for index, line in enumerate(lines_of(typed.get(field.name, ""))):
        try:
            values.append(_single(item, line, typed.get("zone", "")))
        except InvalidInput as error:
            field_errors += [
                replace(field_error, path=(*field.path, index))
                for field_error in error.field_errors
            ]
    if field_errors:
        raise InvalidInput(field_errors)
    return values


def _single(field: Field, text: str, zone: str) -> Any:
    """Raises InvalidInput."""
    if field.kind == "boolean" and not field.choices and text in ("true", "false", ""):
        return text == "true"
    if field.kind in ("choice", "boolean"):
        return next((each for each in field.choices if option_text(each) == text), text)
    if field.kind == "json":
        return _json(field, text)
    if field.kind in FREE_TEXT:
        return text
    if field.kind in ("integer", "number"):
        _refuse_comma(field, text)
        return number(text)
    return moment(text, zone) if field.kind == "datetime" else text.strip()


def number(text: str) -> Any:
    """The number, or what was typed instead of one."""
    text = text.strip()
    if len(text) <= strict_json.DIGITS_LIMIT and NUMBER.fullmatch(text):
        try:
            return strict_json.loads(text.encode())
        except strict_json.InvalidJson:
            pass
    return text


def comma_error(path: Path, text: str) -> FieldError | None:
    """What is wrong with a number that has a comma: nobody can tell what it separates."""
    if "," not in text or not OF_NUMBERS.issuperset(text.strip()):
        return None
    message = "A number is expected, its fraction after a point: 1.5, not 1,5."
    return FieldError(path, "number_with_comma", message)


def _refuse_comma(field: Field, text: str) -> None:
    if field_error := comma_error(field.path, text):
        raise InvalidInput([field_error])


def moment(text: str, zone: str) -> str:
    """The time that was typed, in UTC; as it is where it is none or the zone is unknown."""
    text = text.strip()
    try:
        found = datetime.fromisoformat(text)
        if found.tzinfo is None:
            found = found.replace(tzinfo=zone_of(zone))
        return found.astimezone(UTC).isoformat().replace("+00:00", "Z")
    except (ValueError, OverflowError):
        return text


def zone_of(name: str) -> Any:
    """The time zone of this name, UTC where there is no name. Raises ValueError."""
    if not name:
        return UTC
    if ZONE_NAME.fullmatch(name):
        try:
            return ZoneInfo(name)
        except (LookupError, OSError):
            pass
    raise ValueError(name)


def needs_zone(text: str) -> bool:
    """Whether a text is a date with a time, and does not say in which zone."""
    try:
        return datetime.fromisoformat(text.strip()).tzinfo is None
    except ValueError:
        return False


def _json(field: Field, text: str) -> Any:
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
