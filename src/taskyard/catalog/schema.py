"""Build a pydantic model and JSON Schemas from a function's signature, and collect its errors."""

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

from taskyard.catalog.files import InputFile, UsedFile, files_in
from taskyard.catalog.run import Run
from taskyard.catalog.secrets import DOTS, SHORTEST_SCRUBBED, SecretPlaces, has_secret

Path = tuple[str | int, ...]
# A response names at most so many errors, and the search stops there.
MOST_FIELD_ERRORS = 100
# If pydantic finds more errors, they are not listed: that takes longer than finding them.
MOST_ERRORS = 3000
MOST_KEYS = 1000
COLLECTIONS = ("list", "tuple", "set", "frozenset", "dict")
# Keys of pydantic's schemas whose values are not schemas.
NOT_SCHEMAS = ("cls", "default", "expected", "metadata", "members", "config", "function")
SECRETS = (Secret, SecretBytes, SecretStr)


@dataclass(frozen=True)
class FieldError:
    """One error in an input: its path, a code (pydantic's error type) and an English message."""

    path: Path
    code: str
    message: str
    context: dict[str, Any] = field(default_factory=dict)

    @property
    def pointer(self) -> str:
        """The path as a JSON Pointer (RFC 6901)."""
        return json_pointer(self.path)


class InvalidInput(ValueError):
    """An input that does not match its task type's signature."""

    def __init__(self, field_errors: Iterable[FieldError]) -> None:
        self.field_errors = tuple(field_errors)
        super().__init__(
            "; ".join(
                f"{field_error.path}: {field_error.message}" for field_error in self.field_errors
            )
        )


class Signature:
    """The types of a handler's input and result, read once from its annotations.

    Raises ``TypeError`` if a parameter has no annotation or cannot be passed by name, if a type has
    no JSON Schema, for a secret type of pydantic, whose value would be stored and shown, and for a
    ``Secret`` at a place where it cannot be hidden.
    """

    def __init__(self, handler: Callable[..., Any]) -> None:
        hints = get_type_hints(handler, include_extras=True)
        for name, annotation in hints.items():
            if any(issubclass(type_, SECRETS) for type_ in types_in(annotation)):
                raise TypeError(
                    f"{handler.__qualname__}: {name!r} has a secret type, which would be kept and "
                    "shown in clear; write Annotated[str, Secret] with the Secret of taskyard"
                )
        self.secrets: SecretPlaces | None = None
        try:
            self._read_annotations(handler, hints)
            self._find_secrets(handler)
        except PydanticUserError as error:
            reason = str(error.message).splitlines()[0]
            raise TypeError(f"{handler.__qualname__}: {reason}") from None

    def _read_annotations(self, handler: Callable[..., Any], hints: dict[str, Any]) -> None:
        self.run_parameter: str | None = None
        self.takes_files = any(
            InputFile in types_in(annotation)
            for name, annotation in hints.items()
            if name != "return"
        )
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
            # An alias, because a parameter may have the name of a model's method ("json", "copy").
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
        self._fail_fast = _fail_fast_validator(self.model)
        self.result = _result_adapter(hints.get("return", Any))
        self.input_schema = _with_dialect(self.model.model_json_schema(by_alias=True))
        self.result_schema = _with_dialect(self.result.json_schema(mode="serialization"))

    def _find_secrets(self, handler: Callable[..., Any]) -> None:
        if has_secret(self.result.core_schema):
            raise TypeError(
                f"{handler.__qualname__}: a result is kept and shown, so it has no Secret"
            )
        if not has_secret(self.model.__pydantic_core_schema__):
            return
        try:
            self.secrets = SecretPlaces(self.input_schema)
        except TypeError as error:
            raise TypeError(f"{handler.__qualname__}: {error}") from None

    def check(self, data: object) -> None:
        """Check an input. Raises InvalidInput, whose texts have no secret."""
        if self.secrets is None:
            self._check(data, None)
            return
        noted: list[Any] = []
        try:
            self._check(data, noted)
        except InvalidInput as error:
            raise _scrubbed(error, [*self.secrets.texts(data), *noted]) from None
        if not self.secrets.covers(data, noted):
            message = "A secret is at a place where the task type cannot hide it."
            raise InvalidInput([FieldError((), "secret_misplaced", message)])
        if places := self.secrets.dots(data):
            message = "This is shown in place of the secret. Give the secret."
            raise InvalidInput(FieldError(path, "secret_is_dots", message) for path in places)

    def _check(self, data: object, noted: list[Any] | None) -> None:
        refuse_many_unknown(data, self._fields.values())
        try:
            text = to_json(data, inf_nan_mode="constants")
        except (PydanticSerializationError, ValueError, RecursionError):
            raise _invalid_json() from None
        try:
            self._fail_fast.validate_json(text, context=noted)
        except ValidationError as error:
            raise InvalidInput(self._first_errors(error, json.loads(text))) from None
        except (ValueError, RecursionError):
            raise _invalid_json() from None

    def _first_errors(self, error: ValidationError, data: Any) -> Sequence[FieldError]:
        """The first errors of an input, from the first error of each of its lists."""
        fail_fast_errors = field_errors_of(error, data)
        excerpt = _excerpt(data, [field_error.path for field_error in fail_fast_errors])
        try:
            self.model.model_validate_json(to_json(excerpt, inf_nan_mode="constants"))
        except ValidationError as excerpt_error:
            if excerpt_error.error_count() <= MOST_ERRORS:
                return field_errors_of(excerpt_error, excerpt)
        return fail_fast_errors

    def parse_json(self, text: str | bytes) -> dict[str, Any]:
        """The handler's keyword arguments for an input in JSON text. Raises InvalidInput."""
        model = self._validate(text)
        set_fields = model.model_fields_set
        return {
            name: getattr(model, key) for key, name in self._fields.items() if key in set_fields
        }

    def files(self, data: object) -> list[UsedFile]:
        """The files that an input names, which ``check`` has accepted."""
        if not self.takes_files:
            return []
        return list(files_in(self.parse_json(to_json(data, inf_nan_mode="constants"))))

    def _validate(self, text: str | bytes) -> BaseModel:
        try:
            return self.model.model_validate_json(text)
        except ValidationError as error:
            raise InvalidInput(field_errors_of(error, json.loads(text))) from None
        except (ValueError, RecursionError):
            raise _invalid_json() from None


def json_pointer(path: Path) -> str:
    """The path as a JSON Pointer (RFC 6901)."""
    return "".join(f"/{str(step).replace('~', '~0').replace('/', '~1')}" for step in path)


def _scrubbed(error: InvalidInput, secrets: Iterable[Any]) -> InvalidInput:
    """The error with dots in place of the secrets, which a validator of the author may quote."""
    texts = {text for text in secrets if isinstance(text, str) and len(text) >= SHORTEST_SCRUBBED}
    quoted = sorted(texts, key=len, reverse=True)

    def scrub(value: Any) -> Any:
        text = str(value)
        for secret in quoted:
            text = text.replace(secret, DOTS)
        return value if text == str(value) else text

    return InvalidInput(
        FieldError(
            field_error.path,
            field_error.code,
            scrub(field_error.message),
            {name: scrub(value) for name, value in field_error.context.items()},
        )
        for field_error in error.field_errors
    )


def _invalid_json() -> InvalidInput:
    return InvalidInput([FieldError((), "json_invalid", "Input should be valid JSON")])


def _with_dialect(schema: dict[str, Any]) -> dict[str, Any]:
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def types_in(annotation: Any, seen: set[type] | None = None) -> Iterator[type]:
    """The classes that an annotation names, also inside models, dataclasses and typed dicts."""
    seen = set() if seen is None else seen
    inner = list(get_args(annotation))
    origin = get_origin(annotation) or annotation
    if isinstance(origin, type) and origin not in seen:
        seen.add(origin)
        yield origin
        with suppress(NameError, TypeError):  # pydantic raises a better error later
            inner += get_type_hints(origin, include_extras=True).values()
        if issubclass(origin, BaseModel):  # of a generic model, the hints are type variables
            inner += [field.annotation for field in origin.model_fields.values()]
    for inner_annotation in inner:
        yield from types_in(inner_annotation, seen)


def _result_adapter(annotation: Any) -> TypeAdapter[Any]:
    """An adapter that writes NaN as NaN. Pydantic's default writes null, which loses the number."""
    try:
        return TypeAdapter(annotation, config=ConfigDict(ser_json_inf_nan="constants"))
    except PydanticUserError:  # a model or a typed dict cannot get another configuration
        return TypeAdapter(annotation)


def _fail_fast_validator(model: type[BaseModel]) -> SchemaValidator:
    """A validator with the rules of the model that stops at the first error of each list."""
    schema: Any = _with_fail_fast(model.__pydantic_core_schema__)
    config = model.__pydantic_core_schema__.get("config")
    # Use the schema of the fields: for that of a model, pydantic uses the model's own validator.
    if schema["type"] == "definitions":
        config = schema["schema"].get("config")
        schema["schema"] = schema["schema"].get("schema", schema["schema"])
    else:
        schema = schema.get("schema", schema)
    return SchemaValidator(schema, config)


def _with_fail_fast(schema: Any) -> Any:
    """The schema with ``fail_fast`` for its lists and dictionaries.

    Pydantic has no other limit of the number of errors.
    """
    if isinstance(schema, list):
        return [_with_fail_fast(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    copy = {
        key: value if key in NOT_SCHEMAS else _with_fail_fast(value)
        for key, value in schema.items()
    }
    if copy.get("type") in COLLECTIONS:
        copy["fail_fast"] = True
    return copy


def _excerpt(data: Any, paths: Sequence[Path]) -> Any:
    """The data with shorter lists: each ends ``MOST_FIELD_ERRORS`` items after its first error."""
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
        # A small dictionary may be a model, so it keeps all keys.
        size = len(data) if len(data) <= MOST_KEYS else last + MOST_FIELD_ERRORS
        return {
            key: _excerpt(item, inner[key]) if key in inner else item
            for key, item in islice(data.items(), size)
        }
    return data


def refuse_many_unknown(data: object, known: Collection[str]) -> None:
    """Raise InvalidInput for an object with very many unknown keys.

    Pydantic would make an error for each key.
    """
    if isinstance(data, dict) and len(data) > len(known) + MOST_FIELD_ERRORS:
        unknown = islice((key for key in data if key not in known), MOST_FIELD_ERRORS)
        message = "Extra inputs are not permitted"
        raise InvalidInput([FieldError((key,), "extra_forbidden", message) for key in unknown])


def field_errors_of(error: ValidationError, data: object) -> tuple[FieldError, ...]:
    """The first of pydantic's errors, one for each path, with paths that exist in ``data``.

    Pydantic adds the arm of a union to the path and reports every arm. Here the path has no arms,
    and the error is that of an arm whose type matched, if there is one.
    """
    field_errors: dict[Path, FieldError] = {}
    for item in error.errors(include_url=False, include_input=False):
        path = _path_in(data, item["loc"], missing=item["type"] == "missing")
        field_error = FieldError(path, item["type"], item["msg"], item.get("ctx", {}))
        other = field_errors.get(path)
        if other is None and len(field_errors) == MOST_FIELD_ERRORS:
            break
        if other is None or other.code.endswith("_type") or other.code == "int_from_float":
            field_errors[path] = field_error
    return tuple(field_errors.values())


def _path_in(data: object, loc: Path, *, missing: bool) -> Path:
    path: list[str | int] = []
    for index, step in enumerate(loc):
        if _has_step(data, step):
            data = data[step]  # type: ignore[index]
        elif not (missing and index == len(loc) - 1):
            continue
        path.append(step)
    return tuple(path)


def _has_step(data: object, step: str | int) -> bool:
    if isinstance(data, dict):
        return step in data
    return isinstance(data, list) and isinstance(step, int) and step < len(data)
