"""Rewrite JSON Schemas for generators of typed clients; the schemas accept the same values."""

from typing import Any

Schema = dict[str, Any]
FORMATS = {"integer": "int64", "number": "double"}
NULL = {"type": "null"}


def rewrite_schema(schema: Any) -> Any:
    """The schema with formats for 64-bit numbers and without defaults.

    Without a format a generator uses 32-bit integers and single precision, and it treats a property
    with a default as always present.
    """
    if not isinstance(schema, dict):
        return schema
    rewritten = _without_default(_merge_numbers(schema))
    kind = rewritten.get("type")
    if isinstance(kind, str) and kind in FORMATS:
        rewritten.setdefault("format", FORMATS[kind])
    for key in ("properties", "$defs"):
        if key in rewritten:
            rewritten[key] = {name: rewrite_schema(part) for name, part in rewritten[key].items()}
    for key in ("items", "additionalProperties"):
        if key in rewritten:
            rewritten[key] = rewrite_schema(rewritten[key])
    for key in ("anyOf", "oneOf", "allOf", "prefixItems"):
        if key in rewritten:
            rewritten[key] = [rewrite_schema(part) for part in rewritten[key]]
    return rewritten


def rewrite_parameter(parameter: Schema) -> Schema:
    """A parameter of query, path or header, without null: it is either absent or has a value."""
    schema = dict(parameter["schema"])
    default = schema.get("default")
    arms = [arm for arm in schema.get("anyOf", ()) if arm != NULL]
    if len(arms) == 1:
        schema = {key: value for key, value in schema.items() if key != "anyOf"} | arms[0]
    schema = rewrite_schema(schema)
    if default not in (None, []):
        schema["default"] = default
    return {**parameter, "schema": schema}


def _without_default(schema: Schema) -> Schema:
    """Move a default into the description."""
    rewritten = {key: value for key, value in schema.items() if key != "default"}
    if schema.get("default") not in (None, [], {}, ""):
        description = f"{rewritten.get('description', '')} Default: `{schema['default']}`"
        rewritten["description"] = description.strip()
    return rewritten


def _merge_numbers(schema: Schema) -> Schema:
    """Replace "integer or number" with the same bounds by "number"."""
    arms = schema.get("anyOf", ())
    if sorted(str(arm.get("type")) for arm in arms) != ["integer", "number"]:
        return schema
    bounds = [{key: value for key, value in arm.items() if key != "type"} for arm in arms]
    if bounds[0] != bounds[1]:
        return schema
    return {key: value for key, value in schema.items() if key != "anyOf"} | {
        "type": "number",
        **bounds[0],
    }
