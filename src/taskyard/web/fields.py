"""Build the form fields of a task type from the JSON Schema of its input."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

from django.utils.translation import gettext

from taskyard.catalog import files
from taskyard.catalog.files import Accepts
from taskyard.catalog.schema import Path, json_pointer
from taskyard.web import project

MAX_DEPTH = 6
# Longer strings get a textarea.
MAX_LINE_LENGTH = 200
# Django rejects a request with more than 1000 fields before it is parsed.
MAX_ROWS = 1000
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
# Kinds of items that fit on one line of a list.
ITEM_KINDS = {*FORMATS.values(), "text", "integer", "number", "boolean", "choice", "file"}
ITEM_KINDS -= {"secret", "long"}
ABSENT = object()
# A schema with no other keywords accepts any value.
ANNOTATIONS = {"title", "description", "default", "examples"}


@dataclass(frozen=True)
class Field:
    """A form field.

    ``kind`` names its widget: one of FORMATS' values, text, integer, number, boolean, choice, file,
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
    min_items: int = 0
    accepts: Accepts | None = None

    @property
    def name(self) -> str:
        """The JSON pointer into the input. It begins with a slash, unlike the task's options."""
        return json_pointer(self.path)

    @property
    def id(self) -> str:
        """The HTML id. Two hyphens join the steps; within a step there are never two in a row."""
        steps = (re.sub(r"[\W_]+", "-", str(step)) for step in self.path)
        return "input-" + "--".join(steps)

    @property
    def takes_files(self) -> bool:
        """Whether it is a file, or a list of files."""
        return self.kind == "file" or (self.item is not None and self.item.kind == "file")

    @property
    def accepted(self) -> Accepts:
        """The files that it takes."""
        return (self.item or self).accepts or Accepts()

    @property
    def needed(self) -> bool:
        """Whether the field must not be empty."""
        return self.required and not self.nullable

    def row(self, index: int) -> "Field":
        """The field of one object in a list of objects."""
        row = _at_index(cast("Field", self.item), len(self.path), index)
        return replace(row, label=f"{self.label} {index + 1}")

    def children(self, typed: Mapping[str, str]) -> tuple["Field", ...]:
        """The fields directly inside; a list of objects has as many rows as the form sent."""
        if self.kind == "rows":
            return tuple(self.row(index) for index in range(row_count(self, typed)))
        return self.fields

    def walk(self, typed: Mapping[str, str]) -> Iterator["Field"]:
        """The field and all fields within it."""
        yield self
        for field in self.children(typed):
            yield from field.walk(typed)


def build_fields(schema: Mapping[str, Any], *, translate: bool = False) -> tuple[Field, ...]:
    """The fields of an input schema. ``translate`` is for types whose texts we translate."""
    fields = _properties(schema, (), schema)
    return tuple(map(_translated, fields)) if translate else fields


def row_count(field: Field, typed: Mapping[str, str]) -> int:
    """The number of objects in a list of objects; the form sends one line per object."""
    text = typed.get(field.name, "")
    return min(text.count("\n") + 1, MAX_ROWS) if text else 0


def _properties(
    schema: Mapping[str, Any], path: Path, root: Mapping[str, Any]
) -> tuple[Field, ...]:
    required = schema.get("required", ())
    return tuple(
        _field(child, (*path, name), root, required=name in required)
        for name, child in schema.get("properties", {}).items()
    )


def _field(
    schema: Mapping[str, Any], path: Path, root: Mapping[str, Any], *, required: bool
) -> Field:
    resolved, nullable = _resolve(schema, root)
    kind, choices = _kind(resolved)
    item = _item(resolved, path, root) if kind == "list" else None
    if kind == "list":
        kind = "json" if item is None else "rows" if item.kind == "object" else "list"
    if kind == "object" and len(path) >= MAX_DEPTH:
        kind = "json"
    if nullable and kind in ("boolean", "choice"):
        kind, choices = "choice", (True, False) if kind == "boolean" else choices
    return Field(
        path=path,
        kind=kind,
        label=str(schema.get("title") or resolved.get("title") or path[-1]),
        description=str(schema.get("description") or resolved.get("description") or ""),
        bounds=_bounds(resolved) if kind in ("integer", "number") else "",
        required=required,
        # A schema that accepts any value accepts null.
        nullable=nullable or not resolved.keys() - ANNOTATIONS,
        default=schema.get("default", ABSENT),
        choices=choices,
        item=item,
        fields=_properties(resolved, path, root) if kind == "object" else (),
        min_items=int(resolved.get("minItems", 0)),
        accepts=_accepts(resolved) if kind == "file" else None,
    )


def _item(resolved: Mapping[str, Any], path: Path, root: Mapping[str, Any]) -> Field | None:
    """The field of a list's first item; None if only JSON can express the items."""
    if not isinstance(resolved.get("items"), Mapping) or "prefixItems" in resolved:
        return None
    if len(path) >= MAX_DEPTH:
        return None
    item = _field(resolved["items"], (*path, 0), root, required=True)
    if item.kind == "long" and not _is_multiline(_resolve(resolved["items"], root)[0]):
        item = replace(item, kind="text")
    return item if not item.nullable and item.kind in (*ITEM_KINDS, "object") else None


def _resolve(schema: Mapping[str, Any], root: Mapping[str, Any]) -> tuple[Mapping[str, Any], bool]:
    """Resolve references, and take null out of a union. Returns the schema and if null is valid."""
    for _ in range(MAX_DEPTH):
        if "$ref" in schema:
            schema = root.get("$defs", {}).get(str(schema["$ref"]).rpartition("/")[2], {})
    members = [member for member in schema.get("anyOf", ()) if member.get("type") != "null"]
    nullable = len(members) < len(schema.get("anyOf", ()))
    if nullable and len(members) == 1:
        return _resolve(members[0], root)[0], True
    return schema, nullable


def _kind(resolved: Mapping[str, Any]) -> tuple[str, tuple[Any, ...]]:
    """The kind of field for a schema, and the choices if it has some."""
    if "const" in resolved:
        return "choice", (resolved["const"],)
    if "enum" in resolved:
        return "choice", tuple(resolved["enum"])
    kinds = {member.get("type") for member in resolved.get("anyOf", (resolved,))}
    kinds.discard("null")
    if resolved.get("format") == files.FORMAT and project.has_files():
        return "file", ()
    if kinds and kinds <= {"integer", "number"}:
        return ("number" if "number" in kinds else "integer"), ()
    kind = resolved.get("type")
    if kind == "string":
        return _kind_of_text(resolved), ()
    if kind == "array":
        return "list", ()
    if kind == "object" and resolved.get("properties"):
        return "object", ()
    return ("boolean" if kind == "boolean" else "json"), ()


def _accepts(resolved: Mapping[str, Any]) -> Accepts:
    return Accepts(*resolved.get("x-accept", ()), max_bytes=resolved.get("x-max-bytes"))


def _kind_of_text(resolved: Mapping[str, Any]) -> str:
    if _is_multiline(resolved):
        return "long"
    if kind := FORMATS.get(str(resolved.get("format", ""))):
        return kind
    is_long = resolved.get("maxLength", 0) > MAX_LINE_LENGTH and resolved.get("multiline") is None
    return "long" if is_long and "format" not in resolved else "text"


def _is_multiline(resolved: Mapping[str, Any]) -> bool:
    return (
        resolved.get("multiline") is True
        or resolved.get("format") in ("multiline", "textarea")
        or str(resolved.get("contentMediaType", "")).startswith("text/")
    )


def _bounds(resolved: Mapping[str, Any]) -> str:
    """The bounds of a number as text: ``1 … 3600``."""
    minimum, maximum = resolved.get("minimum"), resolved.get("maximum")
    if minimum is None and maximum is None:
        return ""
    return f"{'' if minimum is None else minimum} … {'' if maximum is None else maximum}".strip()


def _at_index(field: Field, depth: int, index: int) -> Field:
    """Copy a field to another index of the list whose items are at this depth of the path."""
    return replace(
        field,
        path=(*field.path[:depth], index, *field.path[depth + 1 :]),
        fields=tuple(_at_index(each, depth, index) for each in field.fields),
        item=_at_index(field.item, depth, index) if field.item else None,
    )


def _translated(field: Field) -> Field:
    return replace(
        field,
        label=gettext(field.label) if field.label else "",
        description=gettext(field.description) if field.description else "",
        fields=tuple(map(_translated, field.fields)),
        item=_translated(field.item) if field.item else None,
    )
