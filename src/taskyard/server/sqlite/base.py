"""Django's SQLite backend with a fair write lock in place of SQLite's busy handler.

SQLite's own busy handler sleeps longer with each try, up to 100 ms (its source,
``sqliteDefaultBusyCallback``): under load the file is idle while all writers sleep, and some of
them wait much longer than others. Here one thread of a process at a time tries to lock the file,
and it tries again after 0.3 ms while another process writes; a write takes a third of a
millisecond.
"""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import OperationalError
from django.db.backends.sqlite3 import base

from taskyard.server import home
from taskyard.server.sqlite.fair_lock import WriteLock, write_lock_for

WRITES = ("INSERT", "UPDATE", "DELETE", "REPLACE", "WITH")


class Cursor(base.SQLiteCursorWrapper):
    """Takes the write lock for a write outside a transaction, then waits in SQLite's handler."""

    wrapper: "DatabaseWrapper"

    def execute(self, query: Any, params: Any = None) -> Any:
        if not self.wrapper.in_atomic_block and self.wrapper.needs_write_lock(query):
            with self.wrapper.write_lock():
                return super().execute(query, params)
        return super().execute(query, params)


class DatabaseWrapper(base.DatabaseWrapper):
    """A transaction waits for the write lock for at most ``OPTIONS["timeout"]`` seconds."""

    _write_lock: "WriteLock | None" = None

    def get_new_connection(self, conn_params: Any) -> Any:
        if directory := self.settings_dict.get("TASKYARD_HOME"):
            home.prepare(directory)
        return super().get_new_connection(conn_params)

    def needs_write_lock(self, query: str) -> bool:
        """Whether the statement writes and this connection does not hold the lock yet."""
        return self._write_lock is None and query.lstrip()[:7].upper().startswith(WRITES)

    def create_cursor(self, name: str | None = None) -> Any:
        cursor = self.connection.cursor(factory=Cursor)
        cursor.wrapper = self
        return cursor

    @contextmanager
    def write_lock(self) -> Iterator[None]:
        """Hold the write lock for a write outside a transaction. Raises OperationalError."""
        write_lock = self._acquire_write_lock(time.monotonic() + self._timeout)
        try:
            yield
        finally:
            write_lock.release()

    def _acquire_write_lock(self, deadline: float) -> WriteLock:
        write_lock = write_lock_for(str(self.settings_dict["NAME"]))
        if not write_lock.acquire(deadline):
            error = sqlite3.OperationalError("database is locked")
            error.sqlite_errorcode = sqlite3.SQLITE_BUSY
            raise OperationalError("database is locked") from error
        return write_lock

    def _start_transaction_under_autocommit(self) -> None:
        deadline = time.monotonic() + self._timeout
        self._write_lock = write_lock = self._acquire_write_lock(deadline)
        try:
            with self.wrap_database_errors:
                self._set_busy_timeout(0)
                while not self._begin(is_last_try=time.monotonic() > deadline):
                    write_lock.wait_for_other_process()
            write_lock.reopen_gate()
        except BaseException:
            self._release_write_lock()
            raise

    def _begin(self, *, is_last_try: bool) -> bool:
        """Begin a transaction; False while another process writes.

        Raises sqlite3.OperationalError if another process still writes at the last try.
        """
        try:
            self.connection.execute(f"BEGIN {self.settings_dict['OPTIONS']['transaction_mode']}")
        except sqlite3.OperationalError as error:
            if is_last_try or error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                raise
            return False
        return True

    def _commit(self) -> None:
        try:
            super()._commit()  # type: ignore[misc]
        finally:
            self._release_write_lock()

    def _rollback(self) -> None:
        try:
            super()._rollback()  # type: ignore[misc]
        finally:
            self._release_write_lock()

    def _close(self) -> None:
        try:
            super()._close()  # type: ignore[misc]
        finally:
            self._release_write_lock(closed=True)

    def _release_write_lock(self, *, closed: bool = False) -> None:
        if self._write_lock is None:
            return
        self._write_lock.release()
        self._write_lock = None
        if not closed:
            self._set_busy_timeout(self._timeout)

    def _set_busy_timeout(self, seconds: float) -> None:
        """Set how long SQLite's own handler waits; statements outside a transaction need it."""
        self.connection.execute(f"PRAGMA busy_timeout = {int(seconds * 1000)}")

    @property
    def _timeout(self) -> float:
        return float(self.settings_dict["OPTIONS"].get("timeout", 5))
