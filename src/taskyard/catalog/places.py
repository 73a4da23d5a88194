"""Find the places in a JSON value at which its JSON Schema has something, such as a file's id.

A value may fit several schemas, because of unions. Then all of them count.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

Schema = Mapping[str, Any]
Path = tuple[str | int, ...]
# Called for each value that is no object and no list, with the schemas that may apply to it and
# with its path; returns the value that takes its place.
Change = Callable[[Any, list[Schema], Path], Any]
# Keywords whose values are data, not schemas.
DATA = frozenset({"default", "examples", "enum", "const"})
UNIONS = ("anyOf", "oneOf", "allOf")


class Number(str):
    """A number as it is written, so that it keeps all its digits."""


def replaced(value: Any, schema: Schema, change: Change) -> Any:
    """A copy of a value, with what ``change`` returns for each value inside."""
    return _replaced(value, [schema], schema, change, ())


def rewritten(text: str, schema: Schema, change: Change) -> str:
    """The same for JSON text. ``change`` gets numbers as ``Number``, and they stay as written."""
    value = json.loads(text, parse_int=Number, parse_float=Number)
    return _dump(replaced(value, schema, change))


def schemas_in(schema: Any) -> Iterator[Schema]:
    """All objects in a schema, also those that no value can reach."""
    if isinstance(schema, Mapping):
        yield schema
        for keyword, inner in schema.items():
            if keyword not in DATA:
                yield from schemas_in(inner)
    elif isinstance(schema, list):
        for inner in schema:
            yield from schemas_in(inner)


def reachable(schema: Schema) -> list[Schema]:
    """The schemas that ``replaced`` can meet on its way through values."""
    found: dict[int, Schema] = {}
    waiting: list[Schema] = [schema]
    while waiting:
        for inner in _alternatives([waiting.pop()], schema):
            if id(inner) not in found:
                found[id(inner)] = inner
                waiting += _objects(_inside(inner))
    return list(found.values())


def _replaced(value: Any, schemas: list[Schema], root: Schema, change: Change, path: Path) -> Any:
    schemas = _alternatives(schemas, root)
    if isinstance(value, dict):
        return {
            name: _replaced(inner, _objects(_members(schemas, name)), root, change, (*path, name))
            for name, inner in value.items()
        }
    if isinstance(value, list):
        return [
            _replaced(inner, _objects(_items(schemas, place)), root, change, (*path, place))
            for place, inner in enumerate(value)
        ]
    return change(value, schemas, path)


def _alternatives(schemas: list[Schema], root: Schema) -> list[Schema]:
    """The schemas and those that they refer to, each once, however many ways lead to it."""
    found: dict[int, Schema] = {}
    waiting = list(schemas)
    while waiting:
        schema = waiting.pop()
        if id(schema) in found:
            continue
        found[id(schema)] = schema
        if ref := schema.get("$ref"):
            waiting.append(root["$defs"][ref.removeprefix("#/$defs/")])
        for name in UNIONS:
            waiting.extend(schema.get(name, ()))
    return list(found.values())


def _members(schemas: list[Schema], name: str) -> Iterator[Any]:
    for schema in schemas:
        if name in (properties := schema.get("properties", {})):
            yield properties[name]
        else:
            # A valid name fits a pattern, whose dialect is not Python's.
            yield from schema.get("patternProperties", {}).values()
            yield schema.get("additionalProperties")


def _items(schemas: list[Schema], place: int) -> Iterator[Any]:
    for schema in schemas:
        first = schema.get("prefixItems", [])
        yield first[place] if place < len(first) else schema.get("items")


def _inside(schema: Schema) -> Iterator[Any]:
    yield from schema.get("properties", {}).values()
    yield from schema.get("patternProperties", {}).values()
    yield schema.get("additionalProperties")
    yield from schema.get("prefixItems", [])
    yield schema.get("items")


def _objects(schemas: Iterable[Any]) -> list[Schema]:
    """Those that are no true, false or None."""
    return [schema for schema in schemas if isinstance(schema, Mapping)]


def _dump(value: Any) -> str:
    if isinstance(value, Number):
        return str(value)
    if isinstance(value, dict):
        members = (f"{_dump(name)}:{_dump(inner)}" for name, inner in value.items())
        return "{" + ",".join(members) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_dump, value)) + "]"
    return json.dumps(value, ensure_ascii=False)
