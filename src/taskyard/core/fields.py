"""Fields of the record that Django does not have."""

import json
from typing import Any

from django.db import models


class JsonText(models.JSONField):
    """JSON kept as text, so that it is read as it was written.

    PostgreSQL's jsonb sorts the keys of objects and rewrites numbers: 1e21 becomes an integer,
    -0.0 loses its sign. Nothing asks the database for parts of these values.
    """

    def get_internal_type(self) -> str:
        return "TextField"

    def from_db_value(self, value: str | None, expression: Any, connection: Any) -> Any:
        return None if value is None else json.loads(value)

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> Any:
        if value is None or hasattr(value, "resolve_expression"):
            return value
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
