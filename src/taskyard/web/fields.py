"""From a type's JSON Schema to the fields of its form: which widget each value gets."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

from django.utils.translation import gettext

from taskyard.catalog.schema import Path

DEEPEST = 6
# Longer texts, and texts with line breaks, get a field with several lines.
LONGEST_LINE = 200
# A request with more fields is refused before it comes here.
MOST_ROWS = 1000
FORMATS = {
    "date": "date",
    "date-time": "datetime",
    "time": "time",
    "uuid": "uuid",
    "email": "email",
    "idn-email": "email",
    "uri": "url",
    "iri": "url",
    "password": "secret",
    "multiline": "long",
    "textarea": "long",
}
# What one line of a list may hold.
ITEMS = {*FORMATS.values(), "text", "integer", "number", "boolean", "choice"} - {"secret", "long"}
ABSENT = object()
# A schema of these alone admits anything.
ABOUT = {"title", "description", "default", "examples"}


@dataclass(frozen=True)
class Field:
    """One field.

    ``kind`` names its widget: one of FORMATS' values, text, integer, number, boolean, choice,
    list (values of the kind of ``item``), rows (a list of objects), object, json.
    """

    path: Path
    kind: str
    label: str
    description: str = ""
    bounds: str = ""
    required: bool = True
    nullable: bool = False
    default: Any = ABSENT
    choices: tuple[Any, ...] = ()
    item: "Field | None" = None
    fields: tuple["Field", ...] = ()
    least: int = 0

    @property
    def name(self) -> str:
        """Its place in the input as a JSON pointer, which no option of a task is called."""
        return "".join(f"/{str(step).replace('~', '~0').replace('/', '~1')}" for step in self.path)

    @property
    def id(self) -> str:
        """Unique in the form: steps are joined by two hyphens, and a name has no two in a row."""
        steps = (re.sub(r"[\W_]+", "-", str(step)) for step in self.path)
        return "input-" + "--".join(steps)

    @property
    def needed(self) -> bool:
        """Whether it may not be left empty."""
        return self.required and not self.nullable

    def row(self, index: int) -> "Field":
        """One object of a list of objects."""
        found = _moved(cast("Field", self.item), len(self.path), index)
        return replace(found, label=f"{self.label} {index + 1}")

    def within(self, typed: Mapping[str, str]) -> tuple["Field", ...]:
        """The fields directly inside, of a list as many as were typed."""
        if self.kind == "rows":
            return tuple(self.row(index) for index in range(row_count(self, typed)))
        return self.fields

    def every(self, typed: Mapping[str, str]) -> Iterator["Field"]:
        """The field and those within it."""
        yield self
        for field in self.within(typed):
            yield from field.every(typed)


def fields_of(schema: Mapping[str, Any], *, ours: bool = False) -> tuple[Field, ...]:
    """The fields of a type's input; ``ours``: its words are in our catalogues."""
    fields = _properties(schema, (), schema)
    return tuple(map(_translated, fields)) if ours else fields


def row_count(field: Field, typed: Mapping[str, str]) -> int:
    """How many objects a list of objects has; the form sends one line for each."""
    text = typed.get(field.name, "")
    return min(text.count("\n") + 1, MOST_ROWS) if text else 0


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
    kind, choices = _kind(shape)
    item = _item(shape, path, root) if kind == "list" else None
    if kind == "list":
        kind = "json" if item is None else "rows" if item.kind == "object" else "list"
    if kind == "object" and len(path) >= DEEPEST:
        kind = "json"
    if nullable and kind in ("boolean", "choice"):
        kind, choices = "choice", (True, False) if kind == "boolean" else choices
    return Field(
        path=path,
        kind=kind,
        label=str(part.get("title") or shape.get("title") or path[-1]),
        description=str(part.get("description") or shape.get("description") or ""),
        bounds=_bounds(shape) if kind in ("integer", "number") else "",
        required=required,
        # Where anything goes, null goes too.
        nullable=nullable or not shape.keys() - ABOUT,
        default=part.get("default", ABSENT),
        choices=choices,
        item=item,
        fields=_properties(shape, path, root) if kind == "object" else (),
        least=int(shape.get("minItems", 0)),
    )


def _item(shape: Mapping[str, Any], path: Path, root: Mapping[str, Any]) -> Field | None:
    """What a list holds, as the field of its first value; None where only JSON can say it."""
    if not isinstance(shape.get("items"), Mapping) or "prefixItems" in shape:
        return None
    if len(path) >= DEEPEST:
        return None
    item = _field(shape["items"], (*path, 0), root, required=True)
    if item.kind == "long" and not _multiline(_simplest(shape["items"], root)[0]):
        item = replace(item, kind="text")
    return item if not item.nullable and item.kind in (*ITEMS, "object") else None


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


def _kind(shape: Mapping[str, Any]) -> tuple[str, tuple[Any, ...]]:
    """How a schema is asked for, and what there is to choose from."""
    if "const" in shape:
        return "choice", (shape["const"],)
    if "enum" in shape:
        return "choice", tuple(shape["enum"])
    kinds = {arm.get("type") for arm in shape.get("anyOf", (shape,))}
    kinds.discard("null")
    if kinds and kinds <= {"integer", "number"}:
        return ("number" if "number" in kinds else "integer"), ()
    kind = shape.get("type")
    if kind == "string":
        return _kind_of_text(shape), ()
    if kind == "array":
        return "list", ()
    if kind == "object" and shape.get("properties"):
        return "object", ()
    return ("boolean" if kind == "boolean" else "json"), ()


def _kind_of_text(shape: Mapping[str, Any]) -> str:
    if _multiline(shape):
        return "long"
    if found := FORMATS.get(str(shape.get("format", ""))):
        return found
    is_long = shape.get("maxLength", 0) > LONGEST_LINE and shape.get("multiline") is None
    return "long" if is_long and "format" not in shape else "text"


def _multiline(shape: Mapping[str, Any]) -> bool:
    said = shape.get("multiline") is True or shape.get("format") in ("multiline", "textarea")
    return said or str(shape.get("contentMediaType", "")).startswith("text/")


def _bounds(shape: Mapping[str, Any]) -> str:
    """``1 … 3600``, where a number has bounds that a person would come near."""
    least, most = shape.get("minimum"), shape.get("maximum")
    if least is None and most is None:
        return ""
    return f"{'' if least is None else least} … {'' if most is None else most}".strip()


def _moved(field: Field, depth: int, index: int) -> Field:
    """The field at another place of the list whose items stand at this depth."""
    return replace(
        field,
        path=(*field.path[:depth], index, *field.path[depth + 1 :]),
        fields=tuple(_moved(each, depth, index) for each in field.fields),
        item=_moved(field.item, depth, index) if field.item else None,
    )


def _translated(field: Field) -> Field:
    return replace(
        field,
        label=gettext(field.label) if field.label else "",
        description=gettext(field.description) if field.description else "",
        fields=tuple(map(_translated, field.fields)),
        item=_translated(field.item) if field.item else None,
    )
