"""The statements of the hot path, where PostgreSQL and SQLite differ: side by side, same names.

Rows travel as one JSON parameter, so a statement for one task and for a thousand is the same.
"""

from types import ModuleType

from django.db import connection

from taskyard.core.sql import postgresql, sqlite


def dialect() -> ModuleType:
    return postgresql if connection.vendor == "postgresql" else sqlite
