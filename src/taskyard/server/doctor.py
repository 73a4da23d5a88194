"""`taskyard doctor`: check the parts of this installation."""

import platform
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from redis import Redis

from taskyard.core import changes as change_numbers
from taskyard.core import redis_server
from taskyard.core.checks import OLDEST_SQLITE
from taskyard.core.conf import conf
from taskyard.core.installation import installation_id
from taskyard.core.models import Worker
from taskyard.core.redis import (
    PREFIX,
    REGISTRY,
    BrokerRefuses,
    BrokerState,
    BrokerUnavailable,
    broker_state,
    client,
    try_broker,
)
from taskyard.files import storage
from taskyard.files.errors import StorageFull, StorageUnavailable
from taskyard.server.database_checks import durability, session

# Limits of the search for keys of other programs in the broker.
SCAN_SECONDS = 1.0
EXAMPLES = 3
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


def changes() -> Finding:
    if change_numbers.are_of_another_cluster():
        return False, "of another PostgreSQL, by a restored dump: taskyard migrate"
    return True, "of this database"


def broker() -> Finding:
    url = conf().BROKER_URL
    if url is None:
        return False, "none: set REDIS_URL, or run taskyard up"
    kind = redis_server.mode(url)
    if kind not in (None, "standalone"):
        return False, f"is a {kind}; Taskyard needs one server, or sentinel://…?master_name=…"
    try:
        try_broker()
    except BrokerRefuses as refusal:
        return False, f"refuses: {refusal}"
    except BrokerUnavailable as error:
        return False, f"does not answer: {error}"
    return True, "takes writes, scripts and messages"


def neighbours() -> Finding:
    """Other programs in the same Redis. Names never collide, but they share memory and CPU."""
    with client() as redis:
        seen: Any = redis.zrange(REGISTRY, 0, -1, withscores=True)
        now = redis.time()[0]
        foreign = _foreign_keys(redis)
    own_id = installation_id()
    others = [f"{key}, seen {now - at:.0f} s ago" for key, at in seen if key != own_id]
    details = [f"we are {own_id}"]
    if others:
        details.append(f"other installations of Taskyard: {'; '.join(others)}")
    if foreign:
        details.append(f"other programs' keys, such as {', '.join(foreign)}")
    return True, ". ".join(details)


def _foreign_keys(redis: Redis) -> list[str]:
    """A few keys of other programs. The scan of a large database stops after SCAN_SECONDS."""
    keys: set[str] = set()
    deadline = time.monotonic() + SCAN_SECONDS
    for name in redis.scan_iter(count=1000):
        if not name.startswith(f"{PREFIX}:"):
            keys.add(name)
        if len(keys) == EXAMPLES or time.monotonic() > deadline:
            break
    return sorted(keys)


def eviction() -> Finding:
    url = conf().BROKER_URL
    policy = url and redis_server.maxmemory_policy(url)
    if policy is None:
        return broker_state() is BrokerState.OK, "cannot be read here; it must be noeviction"
    return policy == "noeviction", policy


def workers() -> Finding:
    alive = Worker.objects.alive().count()
    return alive > 0, f"{alive} alive"


def home() -> Finding:
    directory: Path = settings.TASKYARD_HOME
    if not directory.exists():
        return True, f"{directory}: not used"
    mode = directory.stat().st_mode & 0o777
    return mode & 0o077 == 0, f"{directory}: {mode:o}"


def files() -> Finding:
    """Write, read and delete a small file."""
    if root := storage.folder():
        place = f"the folder {root}"
    elif in_s3 := storage.bucket():
        place = f"the bucket {in_s3.name}"
    else:
        place = type(storage.storage()).__name__
    try:
        storage.try_out()
    except (StorageFull, StorageUnavailable) as error:
        cause = error.__cause__
        return False, storage.explain(cause)[1] if isinstance(cause, Exception) else place
    return True, f"{place} takes files"


def sqlite() -> Finding:
    return sqlite3.sqlite_version_info >= OLDEST_SQLITE, sqlite3.sqlite_version


CHECKS: tuple[Callable[[], Finding], ...] = (
    python,
    database,
    durability,
    session,
    migrations,
    changes,
    broker,
    eviction,
    neighbours,
    workers,
    files,
    home,
    sqlite,
)


def findings() -> Iterator[tuple[str, bool, str]]:
    """Run all checks: for each its name, whether it passed, and a detail."""
    for check in CHECKS:
        try:
            ok, detail = check()
        except (DatabaseError, OSError, BrokerUnavailable) as error:
            ok, detail = False, str(error).strip().partition("\n")[0]
        yield check.__name__, ok, detail


def run_checks() -> int:
    """Print one line for each check; the exit code: 1 if one failed."""
    failed = 0
    for name, ok, detail in findings():
        print(f"{'ok   ' if ok else 'WRONG'}  {name:11} {detail}")
        failed += not ok
    return 1 if failed else 0
