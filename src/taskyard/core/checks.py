"""Django system checks: what must hold before Taskyard starts."""

import sqlite3
from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register
from django.db import connection

OLDEST_SQLITE = (3, 38)  # the operators -> and ->>
WAL_AND_FULL = ("journal_mode=wal", "synchronous=full")


@register()
def check_settings(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    if settings.TASKYARD_ACTIVE_LIMIT < 1:
        found.append(Error("TASKYARD_ACTIVE_LIMIT must be at least 1.", id="taskyard.E001"))
    if connection.vendor not in ("postgresql", "sqlite"):
        found.append(Error("Taskyard runs on PostgreSQL or SQLite.", id="taskyard.E002"))
    if connection.vendor == "sqlite":
        found += _check_sqlite()
    return found


def _check_sqlite() -> list[CheckMessage]:
    found: list[CheckMessage] = []
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        found.append(Error("SQLite 3.38 or newer is needed.", id="taskyard.E003"))
    options = connection.settings_dict["OPTIONS"]
    if options.get("transaction_mode") != "IMMEDIATE":
        found.append(
            Error(
                "SQLite needs OPTIONS['transaction_mode'] = 'IMMEDIATE': deferred transactions "
                "fail under concurrent submits.",
                id="taskyard.E004",
            )
        )
    pragmas = options.get("init_command", "").lower().replace(" ", "")
    if not all(pragma in pragmas for pragma in WAL_AND_FULL):
        found.append(
            Warning(
                "SQLite without journal_mode=WAL and synchronous=FULL can lose an accepted task "
                "when the power fails.",
                id="taskyard.W001",
            )
        )
    return found
