"""From a type's JSON Schema to the fields of a form, and from what was typed back to its input.

A form checks nothing: what it cannot read as a number goes on as text, and the catalog says what
is wrong and where. What no field can say exactly is a field of JSON.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext

from taskyard.catalog.schema import Flaw, InvalidInput, Path
from taskyard.core import exact_json, messages
from taskyard.dashboard.pages import place

DEEPEST = 4
SCALARS = ("string", "integer", "number", "boolean", "choice")
NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?", re.ASCII)
ABSENT = object()


@dataclass(frozen=True)
class Field:
    """One field. ``kind`` is one of SCALARS, or list, object, json."""

    path: Path
    kind: str
    label: str
    description: str = ""
    bounds: str = ""
    required: bool = True
    default: Any = ABSENT
    choices: tuple[Any, ...] = ()
    item: str = ""
    fields: tuple["Field", ...] = ()

    @property
    def name(self) -> str:
        """Its place in the input as a JSON pointer, which no option of a task is called."""
        return "".join(f"/{str(step).replace('~', '~0').replace('/', '~1')}" for step in self.path)

    @property
    def id(self) -> str:
        return "input" + re.sub(r"[^A-Za-z0-9]", "-", self.name)

    def every(self) -> Iterator["Field"]:
        """The field and those within it."""
        yield self
        for field in self.fields:
            yield from field.every()


def fields_of(schema: Mapping[str, Any]) -> tuple[Field, ...]:
    """The fields of a type's input."""
    return _properties(schema, (), schema)


def written(field: Field, value: Any) -> dict[str, str]:
    """What stands in the field, and in those within it, for a value; by name."""
    if field.kind == "object":
        known = value if isinstance(value, Mapping) else {}
        found: dict[str, str] = {}
        for each in field.fields:
            found |= written(each, known.get(str(each.path[-1]), each.default))
        return found
    return {field.name: "" if value is ABSENT else _text(field, value)}


def written_all(fields: Iterable[Field], data: Mapping[str, Any]) -> dict[str, str]:
    found: dict[str, str] = {}
    for field in fields:
        found |= written(field, data.get(str(field.path[-1]), field.default))
    return found


def read(fields: Iterable[Field], typed: Mapping[str, str]) -> dict[str, Any]:
    """The input that was typed. Raises InvalidInput for JSON that is none."""
    data: dict[str, Any] = {}
    flaws: list[Flaw] = []
    for field in fields:
        try:
            value = _value(field, typed)
        except InvalidInput as error:
            flaws += error.flaws
            continue
        if value is not ABSENT:
            data[str(field.path[-1])] = value
    if flaws:
        raise InvalidInput(flaws)
    return data


def texts(fields: Iterable[Field], flaws: Iterable[Flaw]) -> dict[str, list[str]]:
    """What is wrong with an input, by the name of the innermost field; "" for what has none."""
    known = {each.path: each for field in fields for each in field.every()}
    found: dict[str, list[str]] = {}
    for flaw in flaws:
        length = len(flaw.path)
        while length and flaw.path[:length] not in known:
            length -= 1
        within = place(flaw.path[length:])
        text = messages.of_flaw(flaw)
        name = known[flaw.path[:length]].name if length else ""
        found.setdefault(name, []).append(f"{within}: {text}" if within else text)
    return found


def exactly(value: Any) -> str:
    """A value as JSON that people can read and change, every digit of it."""
    return json.dumps(value, ensure_ascii=False, indent=2)


def _properties(
    schema: Mapping[str, Any], path: Path, root: Mapping[str, Any]
) -> tuple[Field, ...]:
    required = schema.get("required", ())
    return tuple(
        _field(part, (*path, name), root, required=name in required)
        for name, part in schema.get("properties", {}).items()
    )


def _field(
    part: Mapping[str, Any], path: Path, root: Mapping[str, Any], *, required: bool
) -> Field:
    shape, nullable = _simplest(part, root)
    kind, item, choices = _kind(shape, root, len(path))
    if nullable and kind in ("boolean", "choice"):
        kind, choices = "choice", (True, False) if kind == "boolean" else choices
    title = str(part.get("title") or shape.get("title") or path[-1])
    described = str(part.get("description") or shape.get("description") or "")
    return Field(
        path=path,
        kind=kind,
        label=gettext(title) if title else "",
        description=gettext(described) if described else "",
        bounds=_bounds(shape, root) if kind in ("integer", "number") else "",
        required=required and not nullable,
        default=part.get("default", ABSENT),
        choices=choices,
        item=item,
        fields=_properties(shape, path, root) if kind == "object" else (),
    )


def _simplest(part: Mapping[str, Any], root: Mapping[str, Any]) -> tuple[Mapping[str, Any], bool]:
    """The schema itself, behind references and without a null that it also allows."""
    for _ in range(DEEPEST):
        if "$ref" in part:
            part = root.get("$defs", {}).get(str(part["$ref"]).rpartition("/")[2], {})
    arms = [arm for arm in part.get("anyOf", ()) if arm.get("type") != "null"]
    nullable = len(arms) < len(part.get("anyOf", ()))
    if nullable and len(arms) == 1:
        return _simplest(arms[0], root)[0], True
    return part, nullable


def _kind(
    shape: Mapping[str, Any], root: Mapping[str, Any], depth: int
) -> tuple[str, str, tuple[Any, ...]]:
    """How a schema is asked for, what a list holds, and what there is to choose from."""
    if "const" in shape:
        return "choice", "", (shape["const"],)
    if "enum" in shape:
        return "choice", "", tuple(shape["enum"])
    kinds = {arm.get("type") for arm in shape.get("anyOf", (shape,))}
    if kinds and kinds <= {"integer", "number"}:
        return ("number" if "number" in kinds else "integer"), "", ()
    kind = shape.get("type")
    if kind in ("string", "boolean"):
        return str(kind), "", ()
    if kind == "array" and isinstance(shape.get("items"), Mapping) and depth < DEEPEST:
        inner, nullable = _simplest(shape["items"], root)
        item, _, _ = _kind(inner, root, depth + 1)
        if not nullable and item in ("string", "integer", "number"):
            return "list", item, ()
    if kind == "object" and shape.get("properties") and depth < DEEPEST:
        return "object", "", ()
    return "json", "", ()


def _bounds(shape: Mapping[str, Any], root: Mapping[str, Any]) -> str:
    """``1 … 3600``, where a number has bounds that a person would come near."""
    least, most = shape.get("minimum"), shape.get("maximum")
    if least is None and most is None:
        return ""
    return f"{'' if least is None else least} … {'' if most is None else most}".strip()


def _text(field: Field, value: Any) -> str:
    if field.kind in ("json", "object"):
        return exactly(value)
    if field.kind == "list" and isinstance(value, list):
        return "\n".join(_one(each) for each in value)
    return _one(value)


def _one(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _value(field: Field, typed: Mapping[str, str]) -> Any:
    """Raises InvalidInput."""
    if field.kind == "object":
        within = read(field.fields, typed)
        return within if within or field.required else ABSENT
    text = typed.get(field.name, "").replace("\r\n", "\n")
    if field.kind == "boolean":
        return text == "true"
    if field.kind == "choice":
        return next((each for each in field.choices if _one(each) == text), text or ABSENT)
    if field.kind == "json":
        return _json(field, text) if text.strip() else ABSENT
    if field.kind == "list":
        return _items(field, text)
    if field.kind == "string":
        has_text = field.required or isinstance(field.default, str)
        return text if text or has_text else ABSENT
    return number(text) if text.strip() else ABSENT


def _items(field: Field, text: str) -> Any:
    if field.item == "string":
        items: list[Any] = [line for line in text.split("\n") if line]
    else:
        items = [number(word) for word in re.split(r"[\s,;]+", text) if word]
    return items if items or field.required or isinstance(field.default, list) else ABSENT


def number(text: str) -> Any:
    """The number, or what was typed instead of one."""
    text = text.strip()
    if len(text) <= exact_json.DIGITS_LIMIT and NUMBER.fullmatch(text):
        try:
            return exact_json.loads(text.encode())
        except exact_json.Unreadable:
            pass
    return text


def _json(field: Field, text: str) -> Any:
    try:
        return exact_json.loads(text.encode())
    except exact_json.Unreadable as error:
        raise InvalidInput([Flaw(field.path, "json_unreadable", str(error.message))]) from None
    except InvalidInput as error:
        flaws = [
            Flaw((*field.path, *flaw.path), flaw.code, flaw.message, flaw.context)
            for flaw in error.flaws
        ]
        raise InvalidInput(flaws) from None
