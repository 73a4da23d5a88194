"""Schemas as generators of typed clients need them; what they admit stays the same."""

from typing import Any

Schema = dict[str, Any]
FORMATS = {"integer": "int64", "number": "double"}
NULL = {"type": "null"}


def schema(given: Any) -> Any:
    """The schema with its numbers as wide as ours, and no default.

    A generator takes an integer for 32 bits and a number for single precision if nothing says
    otherwise, and a property with a default for one that is always there.
    """
    if not isinstance(given, dict):
        return given
    plain = _without_default(_one_number(given))
    kind = plain.get("type")
    if isinstance(kind, str) and kind in FORMATS:
        plain.setdefault("format", FORMATS[kind])
    for key in ("properties", "$defs"):
        if key in plain:
            plain[key] = {name: schema(part) for name, part in plain[key].items()}
    for key in ("items", "additionalProperties"):
        if key in plain:
            plain[key] = schema(plain[key])
    for key in ("anyOf", "oneOf", "allOf", "prefixItems"):
        if key in plain:
            plain[key] = [schema(part) for part in plain[key]]
    return plain


def parameter(given: Schema) -> Schema:
    """A parameter in the query, the path or a header; what is absent is no null."""
    found = dict(given["schema"])
    default = found.get("default")
    arms = [arm for arm in found.get("anyOf", ()) if arm != NULL]
    if len(arms) == 1:
        found = {key: value for key, value in found.items() if key != "anyOf"} | arms[0]
    found = schema(found)
    if default not in (None, []):
        found["default"] = default
    return {**given, "schema": found}


def _without_default(given: Schema) -> Schema:
    plain = {key: value for key, value in given.items() if key != "default"}
    if given.get("default") not in (None, [], {}, ""):
        said = f"{plain.get('description', '')} Default: `{given['default']}`"
        plain["description"] = said.strip()
    return plain


def _one_number(given: Schema) -> Schema:
    """An integer or a number within the same bounds is a number."""
    arms = given.get("anyOf", ())
    if sorted(str(arm.get("type")) for arm in arms) != ["integer", "number"]:
        return given
    rests = [{key: value for key, value in arm.items() if key != "type"} for arm in arms]
    if rests[0] != rests[1]:
        return given
    return {key: value for key, value in given.items() if key != "anyOf"} | {
        "type": "number",
        **rests[0],
    }
