"""What the commands have in common: their parsers, and their errors about the database."""

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from taskyard.operator_help import OPERATOR
from taskyard.server import env
from taskyard.server.env import ConfigurationError

OUR_SETTINGS = "taskyard.server.settings"


def new_parser(name: str) -> argparse.ArgumentParser:
    return argparse.ArgumentParser(prog=f"taskyard {name}", description=OPERATOR[name])


def is_host_project() -> bool:
    """Whether the environment names the settings of another project than ours."""
    return os.environ.get("DJANGO_SETTINGS_MODULE", OUR_SETTINGS) != OUR_SETTINGS


def require_database() -> None:
    """Raise ConfigurationError if there is no database, before the command creates one.

    A host project's settings name its database.
    """
    if is_host_project():
        return
    values = env.read(os.environ)
    directory: Path = values["TASKYARD_HOME"]
    if values["DATABASE_URL"] is None and not (directory / "taskyard.sqlite3").exists():
        raise ConfigurationError(
            f"there is no database in {directory}: "
            "change to the folder of the installation, or set TASKYARD_HOME or DATABASE_URL; "
            "in a Django project of your own, set DJANGO_SETTINGS_MODULE"
        )


def require_accounts() -> None:
    """Raise ConfigurationError in a project with users of its own."""
    from django.apps import apps

    if not apps.is_installed("taskyard.accounts"):
        raise ConfigurationError("taskyard.accounts is not in INSTALLED_APPS")


@contextmanager
def database_errors() -> Iterator[None]:
    """Turn errors of the database into ConfigurationError, with one line of text."""
    from django.db import DatabaseError, InterfaceError

    try:
        yield
    except (DatabaseError, InterfaceError) as error:
        require_database()
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        migrate = "python manage.py migrate" if is_host_project() else "taskyard migrate"
        hint = f": run `{migrate}`" if _lacks_tables(error) else ""
        raise ConfigurationError(f"the database cannot be used: {first}{hint}") from None


def _lacks_tables(error: Exception) -> bool:
    return getattr(error.__cause__, "sqlstate", "") == "42P01" or "no such table" in str(error)
