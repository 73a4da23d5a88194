"""Django system checks: mistakes in the settings of a project, found before it starts.

docs/reference/checks.md lists the codes.
"""

import sqlite3
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module
from typing import TYPE_CHECKING, Any

from django.apps import AppConfig, apps
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register
from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS, connection, router
from django.utils.module_loading import module_has_submodule
from pydantic import ValidationError

from taskyard.catalog.task_type import registry
from taskyard.core import encryption, redis_url, task_modules
from taskyard.core.conf import Conf, read

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

OLDEST_SQLITE = (3, 38)  # the operators -> and ->>
WRITERS = (None, "IMMEDIATE", "EXCLUSIVE")
# What each of our apps needs beside it.
NEEDED_APPS = {
    "taskyard.accounts": ["taskyard.core", "rest_framework_simplejwt.token_blacklist"],
    "taskyard.api": ["taskyard.core"],
    "taskyard.files": ["taskyard.core"],
    "taskyard.web": ["taskyard.core"],
    "taskyard.web.staff": ["taskyard.web"],
}


@register()
def check_settings(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    found = [
        *_check_conf(),
        *_check_names(),
        *_check_apps(),
        *_check_task_types(),
        *_check_secrets(),
        *_check_routers(),
    ]
    if not settings.USE_TZ:
        found.append(
            Error(
                "Taskyard needs USE_TZ = True.",
                hint="It keeps and compares times in UTC.",
                id="taskyard.E006",
            )
        )
    if connection.vendor == "postgresql":
        found += _check_postgresql()
    elif connection.vendor == "sqlite":
        found += _check_sqlite()
    else:
        found.append(
            Error(
                f"Taskyard runs on PostgreSQL or SQLite, not on {connection.display_name}.",
                hint="Its tables are in the database 'default'.",
                id="taskyard.E002",
            )
        )
    return found


def _check_conf() -> list[CheckMessage]:
    """An error for each key of ``TASKYARD`` that we do not know, and for each bad value."""
    try:
        conf = read(settings)
    except ValidationError as error:
        return [_conf_error(detail) for detail in error.errors()]
    try:
        if conf.BROKER_URL is not None:
            redis_url.parse(conf.BROKER_URL)
    except ValueError as error:
        return [
            Error(
                f"TASKYARD['BROKER_URL']: {error}.",
                hint="A Redis or a Valkey, such as redis://127.0.0.1:6379/0.",
                id="taskyard.E001",
            )
        ]
    return []


def _conf_error(detail: "ErrorDetails") -> CheckMessage:
    key = ".".join(map(str, detail["loc"]))
    if not key:
        return Error(
            f"TASKYARD: {detail['msg']}.",
            hint="It is a dict such as {'ACTIVE_LIMIT': 5}.",
            id="taskyard.E001",
        )
    if detail["type"] != "extra_forbidden":
        return Error(
            f"TASKYARD[{key!r}]: {detail['msg']}.",
            hint="docs/reference/settings.md has the type of each key.",
            id="taskyard.E001",
        )
    similar = get_close_matches(key, Conf.model_fields, n=1)
    return Error(
        f"TASKYARD[{key!r}] is not a setting of Taskyard.",
        hint=f"Did you mean {similar[0]}?" if similar else "docs/reference/settings.md lists all.",
        id="taskyard.E005",
    )


def _check_names() -> list[CheckMessage]:
    """A warning for each key of ``TASKYARD`` that stands in the settings as one of its own."""
    return [
        Warning(
            f"Nothing reads the setting TASKYARD_{key}.",
            hint=f"Write TASKYARD = {{{key!r}: …}}.",
            id="taskyard.W002",
        )
        for key in Conf.model_fields
        if hasattr(settings, f"TASKYARD_{key}")
    ]


def _check_task_types() -> list[CheckMessage]:
    """A warning if the package of the project has task types, but is not an installed app."""
    package = getattr(settings, "ROOT_URLCONF", "").rpartition(".")[0]
    name = f"{package}.{task_modules.NAME}"
    if (
        not package
        or name in sys.modules
        or not module_has_submodule(import_module(package), task_modules.NAME)
    ):
        return []
    return [
        Warning(
            f"{name} is not imported, so its task types are not known.",
            hint=f"Move it to an installed app, or write TASKYARD = {{'TASK_TYPES': [{name!r}]}}.",
            id="taskyard.W003",
        )
    ]


def _check_secrets() -> list[CheckMessage]:
    """An error if task types have secrets that cannot be encrypted."""
    try:
        fault = encryption.fault()
    except ImproperlyConfigured:  # an error of its own
        return []
    if fault is None:
        return []
    return [
        Error(
            f"{fault}.",
            hint="`taskyard encryption-key` prints a key, for TASKYARD['ENCRYPTION_KEYS'] or for "
            "the environment variable TASKYARD_ENCRYPTION_KEYS.",
            id="taskyard.E012",
        )
    ]


def _check_apps() -> list[CheckMessage]:
    """An error for each app that one of ours needs and that is not installed."""
    found: list[CheckMessage] = [
        Error(
            f"{app} needs {needed} in INSTALLED_APPS.",
            hint=f"Add {needed!r}.",
            id="taskyard.E008",
        )
        for app, all_needed in NEEDED_APPS.items()
        if apps.is_installed(app)
        for needed in all_needed
        if not apps.is_installed(needed)
    ]
    if apps.is_installed("taskyard.accounts") and (
        settings.AUTH_USER_MODEL != "taskyard_accounts.User"
    ):
        found.append(
            Error(
                "taskyard.accounts is installed, but AUTH_USER_MODEL is "
                f"{settings.AUTH_USER_MODEL}.",
                hint="Remove taskyard.accounts: your users can own tasks without it.",
                id="taskyard.E009",
            )
        )
    if not apps.is_installed("taskyard.files") and (
        names := [each.name for each in registry.all() if each.takes_files]
    ):
        found.append(
            Error(
                f"Task types take files: {', '.join(names)}.",
                hint="Add 'taskyard.files' to INSTALLED_APPS and 'taskyard' to STORAGES.",
                id="taskyard.E011",
            )
        )
    return found


def _check_routers() -> list[CheckMessage]:
    """An error if a router sends one of our models to another database than the default one."""
    for model in apps.get_models():
        if not model.__module__.startswith("taskyard."):
            continue
        aliases = {router.db_for_read(model), router.db_for_write(model)} - {DEFAULT_DB_ALIAS}
        if aliases or not router.allow_migrate_model(DEFAULT_DB_ALIAS, model):
            where = sorted(aliases)[0] if aliases else "another database"
            return [
                Error(
                    f"A database router sends {model._meta.label} to {where!r}.",
                    hint="Taskyard's tables and those of its owners are in the database "
                    "'default': let your routers return None for the app labels taskyard and "
                    "taskyard_....",
                    id="taskyard.E007",
                )
            ]
    return []


def _check_postgresql() -> list[CheckMessage]:
    level = connection.settings_dict["OPTIONS"].get("isolation_level")
    if level is None or getattr(level, "name", "READ_COMMITTED") == "READ_COMMITTED":
        return []
    return [
        Error(
            "Taskyard needs PostgreSQL's isolation level READ COMMITTED.",
            hint="Remove OPTIONS['isolation_level']: submits at the same moment would fail.",
            id="taskyard.E010",
        )
    ]


def _check_sqlite() -> list[CheckMessage]:
    found: list[CheckMessage] = []
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        found.append(
            Error(
                "SQLite 3.38 or newer is needed.",
                hint=f"Python uses SQLite {sqlite3.sqlite_version}.",
                id="taskyard.E003",
            )
        )
    options = connection.settings_dict["OPTIONS"]
    if options.get("transaction_mode") not in WRITERS:
        found.append(
            Error(
                "SQLite needs OPTIONS['transaction_mode'] = 'IMMEDIATE': deferred transactions "
                "fail under concurrent submits.",
                hint="Without this option Taskyard sets it.",
                id="taskyard.E004",
            )
        )
    pragmas = (options.get("init_command") or "").lower().replace(" ", "")
    if any(
        f"{pragma}=" in pragmas and f"{pragma}={value}" not in pragmas
        for pragma, value in (("journal_mode", "wal"), ("synchronous", "full"))
    ):
        found.append(
            Warning(
                "SQLite without journal_mode=WAL and synchronous=FULL can lose an accepted task "
                "when the power fails.",
                hint="Without these in OPTIONS['init_command'] Taskyard sets them.",
                id="taskyard.W001",
            )
        )
    return found
