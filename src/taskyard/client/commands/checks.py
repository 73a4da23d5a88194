"""Validate an input against its task type's JSON Schema, with the server's error messages.

If a message cannot be the same as the server's, the server validates the whole input.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from taskyard.client.errors import FieldError, InvalidRequest, json_pointer
from taskyard.client.i18n import gettext as _

if TYPE_CHECKING:
    from jsonschema import ValidationError  # type: ignore[import-untyped]

Path = tuple[str | int, ...]
Violation = tuple[Path, str, Any]

# The same codes and texts as on the server; a test compares them.
MESSAGES = {
    "missing": _("This field is required."),
    "extra_forbidden": _("This field is not known."),
    "int_type": _("A whole number is expected."),
    "float_type": _("A number is expected."),
    "bool_type": _("True or false is expected."),
    "string_type": _("A string is expected."),
    "list_type": _("A list is expected."),
    "string_too_short": _("At least %(bound)s characters are expected."),
    "string_too_long": _("At most %(bound)s characters are allowed."),
    "too_short": _("At least %(bound)s items are expected."),
    "too_long": _("At most %(bound)s items are allowed."),
    "greater_than": _("The value must be greater than %(bound)s."),
    "greater_than_equal": _("The value must be at least %(bound)s."),
    "less_than": _("The value must be less than %(bound)s."),
    "less_than_equal": _("The value must be at most %(bound)s."),
}
TYPES = {
    "integer": "int_type",
    "number": "float_type",
    "boolean": "bool_type",
    "string": "string_type",
    "array": "list_type",
}
BOUNDS = {
    "minimum": "greater_than_equal",
    "exclusiveMinimum": "greater_than",
    "maximum": "less_than_equal",
    "exclusiveMaximum": "less_than",
    "minLength": "string_too_short",
    "maxLength": "string_too_long",
    "minItems": "too_short",
    "maxItems": "too_long",
}
SERVER_ONLY_KEYWORDS = {"prefixItems", "uniqueItems", "enum", "const", "format"}
LENGTH_CODES = ("too_short", "too_long")
MOST_FIELD_ERRORS = 100


class _LeaveToServer(Exception):
    """The schema does not determine the server's message for this error."""


def validate(schema: Mapping[str, Any], data: Mapping[str, Any]) -> InvalidRequest | None:
    """The error that the server would return for an input; None if valid, or if only the server
    can tell."""
    try:
        violations = _one_per_path(_violations(_schema_errors(schema, data)))
    except (_LeaveToServer, RecursionError):
        return None
    if not violations:
        return None
    order = [*schema.get("properties", {}), *data]
    violations.sort(key=lambda violation: order.index(violation[0][0]))
    errors = [_to_field_error(*violation) for violation in violations[:MOST_FIELD_ERRORS]]
    return InvalidRequest(400, "invalid", _("The request is not valid."), errors)


def _schema_errors(
    schema: Mapping[str, Any], data: Mapping[str, Any]
) -> Iterator["ValidationError"]:
    from jsonschema import Draft202012Validator
    from jsonschema.validators import extend  # type: ignore[import-untyped]

    def check_reference(*args: Any) -> Iterator["ValidationError"]:
        # A reference is to a model of the author, which may convert its input.
        if any(Draft202012Validator.VALIDATORS["$ref"](*args)):
            raise _LeaveToServer
        yield from ()

    def is_integer(_: object, value: object) -> bool:
        # JSON Schema accepts 1.0 as an integer, the server does not.
        return isinstance(value, int) and not isinstance(value, bool)

    type_checker = Draft202012Validator.TYPE_CHECKER.redefine("integer", is_integer)
    validator = extend(Draft202012Validator, {"$ref": check_reference}, type_checker=type_checker)
    yield from validator(schema).iter_errors(data)


def _violations(errors: Iterable["ValidationError"], parent: Path = ()) -> Iterator[Violation]:
    """Translate the errors of jsonschema into paths and codes of the server."""
    for error in _drop_after_type_error(errors):
        path = (*parent, *error.relative_path)
        match error.validator:
            case "anyOf":
                yield from _violations(_union_errors(error), path)
            case "required":
                for name in error.validator_value:
                    if name not in error.instance:
                        yield (*path, name), "missing", None
            case "additionalProperties":
                for name in error.instance:
                    if name not in error.schema.get("properties", {}):
                        yield (*path, name), "extra_forbidden", None
            case "type" if error.validator_value in TYPES and _is_plain(error):
                yield path, TYPES[error.validator_value], None
            case str(keyword) if keyword in BOUNDS and _is_plain(error):
                bound = error.validator_value
                is_float = error.schema.get("type") == "number"
                yield path, BOUNDS[keyword], float(bound) if is_float else bound
            case _:
                raise _LeaveToServer


def _drop_after_type_error(errors: Iterable["ValidationError"]) -> list["ValidationError"]:
    """Drop the other errors of a value that has the wrong type, as the server does."""
    errors = list(errors)
    wrong = {(*error.path, id(error.schema)) for error in errors if error.validator == "type"}
    return [
        error
        for error in errors
        if error.validator == "type" or (*error.path, id(error.schema)) not in wrong
    ]


def _is_plain(error: "ValidationError") -> bool:
    """Whether the schema determines the message: no tuple, set, choice or format, and finite."""
    infinite = isinstance(error.instance, float) and not math.isfinite(error.instance)
    return not infinite and not SERVER_ONLY_KEYWORDS & error.schema.keys()


def _union_errors(error: "ValidationError") -> list["ValidationError"]:
    """The errors of each member of a union except null."""
    types = [member.get("type") for member in error.validator_value]
    return [inner for inner in error.context if types[inner.relative_schema_path[0]] != "null"]


def _one_per_path(violations: Iterable[Violation]) -> list[Violation]:
    """The first violation at each path; of a union, the one of the member whose type matches."""
    by_path: dict[Path, Violation] = {}
    for violation in violations:
        known = by_path.get(violation[0])
        if known is None or known[1].endswith("_type"):
            by_path[violation[0]] = violation
    # Whether the server reports the length of a list or its items depends on the order it checks.
    wrong_lengths = {path for path, code, _ in by_path.values() if code in LENGTH_CODES}
    if any(path[:length] in wrong_lengths for path in by_path for length in range(len(path))):
        raise _LeaveToServer
    return list(by_path.values())


def _to_field_error(path: Path, code: str, bound: object) -> FieldError:
    pointer = json_pointer(("input_data", *path))
    return FieldError(pointer, code, MESSAGES[code] % {"bound": bound})
