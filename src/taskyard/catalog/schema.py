"""From a function's signature to pydantic models and JSON Schema, and back to plain errors."""

import inspect
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, get_args, get_origin, get_type_hints

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    Secret,
    SecretBytes,
    SecretStr,
    TypeAdapter,
    ValidationError,
    create_model,
)
from pydantic.errors import PydanticUserError
from pydantic_core import PydanticSerializationError, SchemaValidator, to_json

from taskyard.catalog.run import Run

Path = tuple[str | int, ...]
# Ten thousand wrong numbers are one mistake: no more flaws are looked for, and named, than these.
MOST_FIELD_ERRORS = 100
# More errors of pydantic's than these are not laid out, which takes longer than to find them.
MOST_ERRORS = 3000
MOST_KEYS = 1000
COLLECTIONS = ("list", "tuple", "set", "frozenset", "dict")
# Parts of pydantic's schemas that hold what is no schema.
NO_SCHEMAS = ("cls", "default", "expected", "metadata", "members", "config", "function")
SECRETS = (Secret, SecretBytes, SecretStr)


@dataclass(frozen=True)
class FieldError:
    """One thing wrong with an input: where, which kind (pydantic's error type), in English."""

    path: Path
    code: str
    message: str
    context: dict[str, Any] = field(default_factory=dict)


class InvalidInput(ValueError):
    """An input that its task type's signature does not admit."""

    def __init__(self, field_errors: Iterable[FieldError]) -> None:
        self.field_errors = tuple(field_errors)
        super().__init__(
            "; ".join(
                f"{field_error.path}: {field_error.message}" for field_error in self.field_errors
            )
        )


class Signature:
    """The shape of a handler's input and result, read once from its annotations.

    Raises ``TypeError`` where a parameter has no annotation or cannot be given by name, where a
    type has no JSON Schema, and for a secret type: an input and a result are kept and shown.
    """

    def __init__(self, handler: Callable[..., Any]) -> None:
        hints = get_type_hints(handler, include_extras=True)
        for name, annotation in hints.items():
            if any(issubclass(each, SECRETS) for each in _types_in(annotation)):
                raise TypeError(
                    f"{handler.__qualname__}: {name!r} has a secret type, but inputs and results "
                    "are kept and shown in clear; read the secret in the handler instead"
                )
        try:
            self._read_annotations(handler, hints)
        except PydanticUserError as error:
            reason = str(error.message).splitlines()[0]
            raise TypeError(f"{handler.__qualname__}: {reason}") from None

    def _read_annotations(self, handler: Callable[..., Any], hints: dict[str, Any]) -> None:
        self.run_parameter: str | None = None
        self._fields: dict[str, str] = {}
        definitions: dict[str, Any] = {}
        for name, parameter in inspect.signature(handler).parameters.items():
            if hints.get(name) is Run:
                self.run_parameter = name
                continue
            if name not in hints:
                raise TypeError(f"{handler.__qualname__}: parameter {name!r} needs an annotation")
            if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
                raise TypeError(f"{handler.__qualname__}: {name!r} cannot be given by name")
            default = ... if parameter.default is parameter.empty else parameter.default
            # An alias, because a parameter may be called what a model already has ("json", "copy").
            self._fields[f"field_{len(definitions)}"] = name
            definitions[f"field_{len(definitions)}"] = (
                hints[name],
                Field(default, alias=name, title=name.replace("_", " ").capitalize()),
            )
        self.model: type[BaseModel] = create_model(
            "".join(part.capitalize() for part in handler.__name__.split("_")) + "Input",
            __config__=ConfigDict(strict=True, extra="forbid", allow_inf_nan=False),
            **definitions,
        )
        self._until_first = _validator_until_first(self.model)
        self.result = _result_adapter(hints.get("return", Any))
        self.input_schema = _schema(self.model.model_json_schema(by_alias=True))
        self.result_schema = _schema(self.result.json_schema(mode="serialization"))

    def check(self, data: object) -> None:
        """Raises InvalidInput."""
        refuse_many_unknown(data, self._fields.values())
        try:
            text = to_json(data, inf_nan_mode="constants")
        except (PydanticSerializationError, ValueError, RecursionError):
            raise InvalidInput(
                [FieldError((), "json_invalid", "Input should be valid JSON")]
            ) from None
        try:
            self._until_first.validate_json(text)
        except ValidationError as error:
            raise InvalidInput(self._first_flaws(error, json.loads(text))) from None
        except (ValueError, RecursionError):
            raise InvalidInput(
                [FieldError((), "json_invalid", "Input should be valid JSON")]
            ) from None

    def _first_flaws(self, error: ValidationError, data: Any) -> Sequence[FieldError]:
        """With the first flaw of each list known: a number of those behind it."""
        known = field_errors_of(error, data)
        excerpt = _excerpt(data, [field_error.path for field_error in known])
        try:
            self.model.model_validate_json(to_json(excerpt, inf_nan_mode="constants"))
        except ValidationError as more:
            if more.error_count() <= MOST_ERRORS:
                return field_errors_of(more, excerpt)
        return known

    def parse_json(self, text: str | bytes) -> dict[str, Any]:
        """The handler's keyword arguments for this input, which is JSON text; as ``check``."""
        model = self._read(text)
        given = model.model_fields_set
        return {name: getattr(model, key) for key, name in self._fields.items() if key in given}

    def _read(self, text: str | bytes) -> BaseModel:
        try:
            return self.model.model_validate_json(text)
        except ValidationError as error:
            raise InvalidInput(field_errors_of(error, json.loads(text))) from None
        except (ValueError, RecursionError):
            raise InvalidInput(
                [FieldError((), "json_invalid", "Input should be valid JSON")]
            ) from None


def _schema(schema: dict[str, Any]) -> dict[str, Any]:
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _types_in(annotation: Any, seen: set[type] | None = None) -> Iterator[type]:
    """The classes that an annotation names, also inside models, dataclasses and typed dicts."""
    seen = set() if seen is None else seen
    inner = list(get_args(annotation))
    origin = get_origin(annotation) or annotation
    if isinstance(origin, type) and origin not in seen:
        seen.add(origin)
        yield origin
        with suppress(NameError, TypeError):  # pydantic says more of an annotation it cannot read
            inner += get_type_hints(origin, include_extras=True).values()
    for each in inner:
        yield from _types_in(each, seen)


def _result_adapter(annotation: Any) -> TypeAdapter[Any]:
    """Pydantic would turn a NaN into null; a lost number must be an error instead."""
    try:
        return TypeAdapter(annotation, config=ConfigDict(ser_json_inf_nan="constants"))
    except PydanticUserError:  # a model or a typed dict has a configuration of its own
        return TypeAdapter(annotation)


def _validator_until_first(model: type[BaseModel]) -> SchemaValidator:
    """Checks what the model checks, up to the first flaw of each list."""
    schema: Any = _failing_fast(model.__pydantic_core_schema__)
    config = model.__pydantic_core_schema__.get("config")
    # The fields alone: for a model pydantic takes the validator that it has.
    if schema["type"] == "definitions":
        config = schema["schema"].get("config")
        schema["schema"] = schema["schema"].get("schema", schema["schema"])
    else:
        schema = schema.get("schema", schema)
    return SchemaValidator(schema, config)


def _failing_fast(schema: Any) -> Any:
    """The same schema, whose lists and dictionaries end at the first thing that is wrong in them.

    Pydantic has no other bound to how many errors it makes.
    """
    if isinstance(schema, list):
        return [_failing_fast(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    found = {
        key: value if key in NO_SCHEMAS else _failing_fast(value) for key, value in schema.items()
    }
    if found.get("type") in COLLECTIONS:
        found["fail_fast"] = True
    return found


def _excerpt(data: Any, paths: Sequence[Path]) -> Any:
    """The data with as much of each list as can hold the first flaws, from these places on."""
    inner: dict[str | int, list[Path]] = {}
    for path in paths:
        if path:
            inner.setdefault(path[0], []).append(path[1:])
    if isinstance(data, list):
        last = max((step for step in inner if isinstance(step, int)), default=len(data))
        return [
            _excerpt(item, inner[index]) if index in inner else item
            for index, item in enumerate(data[: last + MOST_FIELD_ERRORS])
        ]
    if isinstance(data, dict):
        last = max((place for place, key in enumerate(data) if key in inner), default=len(data))
        # So few keys may be those of a model, where none may be missing.
        most = len(data) if len(data) <= MOST_KEYS else last + MOST_FIELD_ERRORS
        return {
            key: _excerpt(item, inner[key]) if key in inner else item
            for key, item in islice(data.items(), most)
        }
    return data


def refuse_many_unknown(data: object, known: Collection[str]) -> None:
    """Raises InvalidInput for an object that is mostly keys that nobody knows, before it is read.

    Pydantic would make an error of each.
    """
    if isinstance(data, dict) and len(data) > len(known) + MOST_FIELD_ERRORS:
        unknown = islice((key for key in data if key not in known), MOST_FIELD_ERRORS)
        message = "Extra inputs are not permitted"
        raise InvalidInput([FieldError((key,), "extra_forbidden", message) for key in unknown])


def field_errors_of(error: ValidationError, data: object) -> tuple[FieldError, ...]:
    """The first of pydantic's errors with paths that exist in ``data``, one a path.

    Pydantic names the arm of a union in the path and reports every arm; a person wants the
    place and the arm that came closest, which is one that got past the type.
    """
    field_errors: dict[Path, FieldError] = {}
    for item in error.errors(include_url=False, include_input=False):
        path = _path_in(data, item["loc"], missing=item["type"] == "missing")
        field_error = FieldError(path, item["type"], item["msg"], item.get("ctx", {}))
        known = field_errors.get(path)
        if known is None and len(field_errors) == MOST_FIELD_ERRORS:
            break
        if known is None or known.code.endswith("_type") or known.code == "int_from_float":
            field_errors[path] = field_error
    return tuple(field_errors.values())


def _path_in(data: object, loc: Path, *, missing: bool) -> Path:
    path: list[str | int] = []
    for index, step in enumerate(loc):
        if _holds(data, step):
            data = data[step]  # type: ignore[index]
        elif not (missing and index == len(loc) - 1):
            continue
        path.append(step)
    return tuple(path)


def _holds(data: object, step: str | int) -> bool:
    if isinstance(data, dict):
        return step in data
    return isinstance(data, list) and isinstance(step, int) and step < len(data)
