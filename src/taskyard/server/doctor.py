"""`taskyard doctor`: what this installation stands on, and what is wrong with it."""

import platform
import sqlite3
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from django.conf import settings
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor

from taskyard.core.checks import OLDEST_SQLITE
from taskyard.core.models import Worker
from taskyard.server import valkey
from taskyard.server.health import broker_answers

Finding = tuple[bool, str]


def python() -> Finding:
    return sys.version_info >= (3, 11), platform.python_version()


def database() -> Finding:
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("SELECT sqlite_version()")
        else:
            cursor.execute("SHOW server_version")
        return True, f"{connection.display_name} {cursor.fetchone()[0]}"


def migrations() -> Finding:
    executor = MigrationExecutor(connection)
    missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return not missing, f"{len(missing)} to apply: taskyard migrate" if missing else "all applied"


def broker() -> Finding:
    if settings.REDIS_URL is None:
        return False, "none: set REDIS_URL, or run taskyard up"
    return (True, "answers") if broker_answers() else (False, "does not answer")


def eviction() -> Finding:
    policy = settings.REDIS_URL and valkey.maxmemory_policy(settings.REDIS_URL)
    return policy == "noeviction", policy or "cannot be asked"


def workers() -> Finding:
    alive = Worker.objects.alive().count()
    return alive > 0, f"{alive} alive"


def home() -> Finding:
    directory: Path = settings.TASKYARD_HOME
    if not directory.exists():
        return True, f"{directory}: not used"
    mode = directory.stat().st_mode & 0o777
    return mode & 0o077 == 0, f"{directory}: {mode:o}"


def sqlite() -> Finding:
    return sqlite3.sqlite_version_info >= OLDEST_SQLITE, sqlite3.sqlite_version


CHECKS: tuple[Callable[[], Finding], ...] = (
    python,
    database,
    migrations,
    broker,
    eviction,
    workers,
    home,
    sqlite,
)


def findings() -> Iterator[tuple[str, bool, str]]:
    for check in CHECKS:
        try:
            fine, detail = check()
        except (DatabaseError, OSError) as error:
            fine, detail = False, str(error).strip().partition("\n")[0]
        yield check.__name__, fine, detail


def examine() -> int:
    """Print one line a check; 0 when all is well, else 1."""
    wrong = 0
    for name, fine, detail in findings():
        print(f"{'ok   ' if fine else 'WRONG'}  {name:11} {detail}")
        wrong += not fine
    return 1 if wrong else 0
