"""Change the ids of files in the JSON of a task, where the schema of its type has files."""

from collections.abc import Mapping
from typing import Any

from taskyard.catalog.files import FORMAT
from taskyard.catalog.places import Number, Path, Schema, rewritten


def renumber(text: str, schema: Mapping[str, Any], ids: Mapping[int, int]) -> str:
    """The JSON text with other ids of files; all else is as it was."""

    def change(value: Any, schemas: list[Schema], path: Path) -> Any:
        if not isinstance(value, Number) or not value.isdigit():
            return value
        is_file = any(schema.get("format") == FORMAT for schema in schemas)
        return Number(ids.get(int(value), value)) if is_file else value

    return rewritten(text, schema, change)
