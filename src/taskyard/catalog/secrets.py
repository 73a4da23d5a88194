"""Secrets in signatures: ``password: Annotated[str, Secret]``.

The handler gets the text. The input is stored with the text encrypted, and shown with dots in its
place (``taskyard.core.secrets``). In JSON Schema it is a string with ``"format": "password"`` and
``"writeOnly": true``.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from pydantic import (
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
)
from pydantic.errors import PydanticUserError
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema, to_json

from taskyard.catalog.places import (
    Number,
    Path,
    Schema,
    reachable,
    replaced,
    rewritten,
    schemas_in,
)

FORMAT = "password"
# What is shown in place of a secret.
DOTS = "••••"
# In the metadata of pydantic's schema.
MARK = "taskyard_secret"
# A shorter text would be replaced in many messages that have nothing to do with it.
SHORTEST_SCRUBBED = 4


class Secret:
    """Annotates a text that is kept encrypted and never shown: ``Annotated[str, Secret]``.

    It annotates the text itself: ``list[Annotated[str, Secret]]``, ``Annotated[str, Secret] |
    None``. It can be in lists, values of dictionaries, models, dataclasses and typed dictionaries.
    """

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: type[Any], handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        if source is not str:
            raise PydanticUserError(
                "Secret annotates str itself: list[Annotated[str, Secret]]", code=None
            )
        return core_schema.with_info_wrap_validator_function(
            _note, handler(source), metadata={MARK: True}
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {**handler(schema), "format": FORMAT, "writeOnly": True}


def _note(value: Any, validate: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
    """Note each secret that pydantic meets, if the validation has a list for them.

    Also what is no text and becomes one, such as a number: it would be stored in clear.
    """
    if info.context is None:
        return validate(value)
    if isinstance(value, str):
        info.context.append(value)
    validated = validate(value)
    if not isinstance(value, str | None):
        info.context.append(value)
    return validated


def has_secret(schema: Any) -> bool:
    """Whether pydantic's schema has a secret anywhere."""
    if isinstance(schema, list | tuple):
        return any(map(has_secret, schema))
    if not isinstance(schema, dict):
        return False
    metadata = schema.get("metadata")
    if isinstance(metadata, dict) and metadata.get(MARK):
        return True
    return any(has_secret(value) for key, value in schema.items() if key != "metadata")


class SecretPlaces:
    """Where inputs with this JSON Schema have secrets.

    The same places are found in an input with the secrets encrypted, because those are texts too.
    Raises TypeError for a schema with a secret at a place that cannot be found in an input, and for
    a default that is a secret, because a schema is shown.
    """

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        found = [inner for inner in reachable(schema) if is_secret(inner)]
        marked = [inner for inner in schemas_in(schema) if is_secret(inner)]
        if not found or {*map(id, marked)} - {*map(id, found)}:
            raise TypeError(
                "a Secret can be in lists, values of dictionaries, models, dataclasses and typed "
                "dictionaries; not in keys of dictionaries, not in JSON within a text, and not "
                "where a JSON Schema of your own hides it"
            )
        for inner in schemas_in(schema):
            shown = [inner[name] for name in ("default",) if name in inner]
            shown += inner.get("examples", ()) if isinstance(inner.get("examples"), list) else ()
            if any(text for value in shown for text in _texts(value, inner, schema)):
                raise TypeError("a Secret has no default and no example, because they are shown")

    def replace(self, value: Any, change: Callable[[str, Path], Any]) -> Any:
        """A copy of an input, with what ``change`` returns for each secret and its path."""
        return replaced(value, self._schema, _at_secrets(change))

    def rewrite(self, text: str, change: Callable[[str, Path], Any]) -> str:
        """The same for an input as JSON text; numbers stay as they are written."""
        return rewritten(text, self._schema, _at_secrets(change))

    def texts(self, value: Any) -> list[str]:
        """The secrets of an input."""
        return _texts(value, self._schema, self._schema)

    def dots(self, value: Any) -> list[Path]:
        """Where an input has the dots that are shown in place of a secret."""
        found: list[Path] = []

        def note(text: str, path: Path) -> str:
            if text == DOTS:
                found.append(path)
            return text

        self.replace(value, note)
        return found

    def covers(self, value: Any, noted: Sequence[Any]) -> bool:
        """Whether nothing of the secrets that pydantic has noted is left without the secrets.

        Types that convert their input can take a secret out of a text that the schema does not
        mark, or make a secret of a number.
        """
        if not all(isinstance(text, str) for text in noted):
            return False
        known = set(self.texts(value))
        strays = [text for text in noted if text and text not in known]
        if not strays:
            return True
        rest = to_json(self.replace(value, lambda text, path: DOTS))
        return not any(to_json(text)[1:-1] in rest for text in strays)


def without(value: Any, places: SecretPlaces) -> Any:
    """An input to be completed: without the members that are secrets; in lists they are empty."""
    return _pruned(places.replace(value, lambda text, path: _LEFT_OUT))


_LEFT_OUT = object()


def _pruned(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _pruned(inner) for name, inner in value.items() if inner is not _LEFT_OUT}
    if isinstance(value, list):
        return ["" if inner is _LEFT_OUT else _pruned(inner) for inner in value]
    return value


def is_secret(schema: Schema) -> bool:
    """Whether a text with this JSON Schema is a secret."""
    return schema.get("format") == FORMAT and schema.get("writeOnly") is True


def _at_secrets(change: Callable[[str, Path], Any]) -> Callable[[Any, list[Schema], Path], Any]:
    def at(value: Any, schemas: list[Schema], path: Path) -> Any:
        is_text = isinstance(value, str) and not isinstance(value, Number)
        return change(value, path) if is_text and any(map(is_secret, schemas)) else value

    return at


def _texts(value: Any, schema: Schema, root: Schema) -> list[str]:
    found: list[str] = []

    def note(text: str, path: Path) -> str:
        found.append(text)
        return text

    # The definitions of the root, for a schema within it.
    replaced(value, {**schema, "$defs": root.get("$defs", {})}, _at_secrets(note))
    return found


def spellings(text: str) -> Iterator[str]:
    """How messages may spell a secret: also in JSON, in Python, in an address, by its lines."""
    from urllib.parse import quote, quote_plus

    for part in {text, *(line for line in text.splitlines() if len(line) >= 2 * SHORTEST_SCRUBBED)}:
        yield part
        yield repr(part)[1:-1]
        yield from (to_json(part).decode()[1:-1], ascii(part)[1:-1])
        yield from (quote(part, safe=""), quote(part), quote_plus(part))
