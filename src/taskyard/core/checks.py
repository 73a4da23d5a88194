"""Django system checks: what must hold before Taskyard starts."""

import sqlite3
from collections.abc import Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register
from django.db import connection
from pydantic import ValidationError

from taskyard.core.conf import Conf, read

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

OLDEST_SQLITE = (3, 38)  # the operators -> and ->>
WAL_AND_FULL = ("journal_mode=wal", "synchronous=full")


@register()
def check_settings(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    found: list[CheckMessage] = _check_conf()
    if connection.vendor not in ("postgresql", "sqlite"):
        found.append(Error("Taskyard runs on PostgreSQL or SQLite.", id="taskyard.E002"))
    if connection.vendor == "sqlite":
        found += _check_sqlite()
    return found


def _check_conf() -> list[CheckMessage]:
    """An error for each key of ``TASKYARD`` that we do not know, and for each bad value."""
    try:
        read(settings)
    except ValidationError as error:
        return [_conf_error(detail) for detail in error.errors()]
    return []


def _conf_error(detail: "ErrorDetails") -> CheckMessage:
    key = ".".join(map(str, detail["loc"]))
    if detail["type"] != "extra_forbidden":
        return Error(f"TASKYARD[{key!r}]: {detail['msg']}.", id="taskyard.E001")
    similar = get_close_matches(key, Conf.model_fields, n=1)
    return Error(
        f"TASKYARD[{key!r}] is not a setting of Taskyard.",
        hint=f"Did you mean {similar[0]}?" if similar else "docs/reference/settings.md lists all.",
        id="taskyard.E005",
    )


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
