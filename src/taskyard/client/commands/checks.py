"""Whether an input fits its task type's JSON Schema, in the words that the server has for it.

What cannot be said exactly as the server would say it is left to the server, whole.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from taskyard.client.errors import FieldError, InvalidRequest
from taskyard.client.i18n import gettext as _

if TYPE_CHECKING:
    from jsonschema import ValidationError  # type: ignore[import-untyped]

Path = tuple[str | int, ...]
Flaw = tuple[Path, str, Any]

# The texts are those of the server, and their keys too; a test compares them.
WORDS = {
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
SPECIAL = {"prefixItems", "uniqueItems", "enum", "const", "format"}
COUNTED = ("too_short", "too_long")
MOST_FIELD_ERRORS = 100


class _Unsaid(Exception):
    """The server has a word for this that the schema does not tell."""


def refusal(schema: Mapping[str, Any], given: Mapping[str, Any]) -> InvalidRequest | None:
    """What the server would answer to this input; None where it is fine, or the server's to say."""
    try:
        field_errors = _one_a_place(_said(_errors(schema, given)))
    except (_Unsaid, RecursionError):
        return None
    if not field_errors:
        return None
    order = [*schema.get("properties", {}), *given]
    field_errors.sort(key=lambda field_error: order.index(field_error[0][0]))
    errors = [_error(*field_error) for field_error in field_errors[:MOST_FIELD_ERRORS]]
    return InvalidRequest(400, "invalid", _("The request is not valid."), errors)


def _errors(schema: Mapping[str, Any], given: Mapping[str, Any]) -> Iterator["ValidationError"]:
    from jsonschema import Draft202012Validator
    from jsonschema.validators import extend  # type: ignore[import-untyped]

    def referred(*asked: Any) -> Iterator["ValidationError"]:
        # A model within the input is the author's own, and may convert what it is given.
        if any(Draft202012Validator.VALIDATORS["$ref"](*asked)):
            raise _Unsaid
        yield from ()

    def is_integer(_: object, value: object) -> bool:
        return isinstance(value, int) and not isinstance(value, bool)  # 1.0 is none

    exact = Draft202012Validator.TYPE_CHECKER.redefine("integer", is_integer)
    judge = extend(Draft202012Validator, {"$ref": referred}, type_checker=exact)
    yield from judge(schema).iter_errors(given)


def _said(errors: Iterable["ValidationError"], above: Path = ()) -> Iterator[Flaw]:
    for error in _told_once(errors):
        path = (*above, *error.relative_path)
        match error.validator:
            case "anyOf":
                yield from _said(_of_arms(error), path)
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
                raise _Unsaid


def _told_once(errors: Iterable["ValidationError"]) -> list["ValidationError"]:
    """Of what has the wrong type nothing else is said."""
    found = list(errors)
    wrong = {(*each.path, id(each.schema)) for each in found if each.validator == "type"}
    return [
        each
        for each in found
        if each.validator == "type" or (*each.path, id(each.schema)) not in wrong
    ]


def _is_plain(error: "ValidationError") -> bool:
    """Whether the schema tells all: not of tuples, sets, choices, times; nor of an infinite."""
    endless = isinstance(error.instance, float) and not math.isfinite(error.instance)
    return not endless and not SPECIAL & error.schema.keys()


def _of_arms(error: "ValidationError") -> list["ValidationError"]:
    """What is wrong in each arm of a union; that something may also be null is no arm."""
    arms = [arm.get("type") for arm in error.validator_value]
    return [each for each in error.context if arms[each.relative_schema_path[0]] != "null"]


def _one_a_place(field_errors: Iterable[Flaw]) -> list[Flaw]:
    """The first at each place, but of a union's arms the one that got past the type."""
    found: dict[Path, Flaw] = {}
    for field_error in field_errors:
        known = found.get(field_error[0])
        if known is None or known[1].endswith("_type"):
            found[field_error[0]] = field_error
    # Whether a list's length or its items are complained of depends on which is seen first.
    counted = {path for path, code, _ in found.values() if code in COUNTED}
    if any(path[:length] in counted for path in found for length in range(len(path))):
        raise _Unsaid
    return list(found.values())


def _error(path: Path, code: str, bound: object) -> FieldError:
    steps = (str(step).replace("~", "~0").replace("/", "~1") for step in ("input_data", *path))
    return FieldError("".join(f"/{step}" for step in steps), code, WORDS[code] % {"bound": bound})
