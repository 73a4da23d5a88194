"""What Taskyard needs of a database session that one of Django's own engines opens.

The engines of our project (``server.postgresql``, ``server.sqlite``) make these settings
themselves, from ``OPTIONS``; nothing is changed that ``OPTIONS`` sets.
"""

from contextlib import suppress
from typing import Any
from weakref import WeakSet

from django.db import DEFAULT_DB_ALIAS, OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

# A worker reads a few rows in the order of an index, so plans must not depend on statistics: those
# may be of an almost empty table, or of one full of ended tasks. With them a claim from a backlog
# of 60,000 sorts all of it (90 ms instead of 2), and an end reads all tasks in progress.
FOR_WORKERS = {
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_sort": "off",
    "jit": "off",
}
# Tasks that run without a claim have no lease: if their process vanishes, this releases its locks.
IDLE_IN_TRANSACTION = {"idle_in_transaction_session_timeout": "5s"}

_of_workers: WeakSet[BaseDatabaseWrapper] = WeakSet()


def mark_as_workers(connection: BaseDatabaseWrapper) -> None:
    """Give the sessions of this connection the settings of a worker, from the next one on."""
    _of_workers.add(connection)


def prepare(*, connection: Any, **kwargs: Any) -> None:
    """Prepare a session of the default database that was just opened."""
    if connection.alias != DEFAULT_DB_ALIAS:
        return
    if connection.vendor == "sqlite":
        _prepare_sqlite(connection)
    elif connection in _of_workers and "session" not in connection.settings_dict["OPTIONS"]:
        _prepare_for_worker(connection)


def _prepare_sqlite(connection: Any) -> None:
    """Begin transactions as a writer; lose no accepted task in a power cut."""
    if connection.transaction_mode is None:
        # A transaction that begins as a reader fails if it has to wait before its first write.
        connection.transaction_mode = "IMMEDIATE"
    chosen = (connection.settings_dict["OPTIONS"].get("init_command") or "").lower()
    # To change the mode needs the whole file: while another connection writes, the next one tries.
    with suppress(OperationalError), connection.cursor() as cursor:
        if "synchronous" not in chosen:
            cursor.execute("PRAGMA synchronous = FULL")
        if "journal_mode" not in chosen:
            cursor.execute("PRAGMA journal_mode = WAL")


def _prepare_for_worker(connection: Any) -> None:
    settings = FOR_WORKERS | IDLE_IN_TRANSACTION
    calls = ", ".join(["set_config(%s, %s, false)"] * len(settings))
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {calls}", [text for pair in settings.items() for text in pair])


connection_created.connect(prepare)
