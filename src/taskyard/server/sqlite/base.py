"""Django's SQLite backend, where writers take turns instead of sleeping.

SQLite's own busy handler sleeps longer with each look, up to 100 ms (its source,
``sqliteDefaultBusyCallback``): under load the file lies idle while all sleep, and the unlucky are
overtaken by everybody. Here one thread of a process at a time asks for the file, and while another
process writes it looks again soon; a write takes a third of a millisecond.
"""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import OperationalError
from django.db.backends.sqlite3 import base

from taskyard.server import home
from taskyard.server.sqlite.fair_lock import Turn, turn_at

WRITES = ("INSERT", "UPDATE", "DELETE", "REPLACE", "WITH")


class Cursor(base.SQLiteCursorWrapper):
    """A write outside a transaction takes its turn too, and then waits in SQLite's handler."""

    wrapper: "DatabaseWrapper"

    def execute(self, query: Any, params: Any = None) -> Any:
        if not self.wrapper.in_atomic_block and self.wrapper.is_write_alone(query):
            with self.wrapper.turn():
                return super().execute(query, params)
        return super().execute(query, params)


class DatabaseWrapper(base.DatabaseWrapper):
    """A transaction waits for its turn as long as ``OPTIONS["timeout"]`` says, seconds."""

    _turn: "Turn | None" = None

    def get_new_connection(self, conn_params: Any) -> Any:
        if directory := self.settings_dict.get("TASKYARD_HOME"):
            home.prepare(directory)
        return super().get_new_connection(conn_params)

    def is_write_alone(self, query: str) -> bool:
        return self._turn is None and query.lstrip()[:7].upper().startswith(WRITES)

    def create_cursor(self, name: str | None = None) -> Any:
        cursor = self.connection.cursor(factory=Cursor)
        cursor.wrapper = self
        return cursor

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Around a write outside a transaction."""
        turn = self._take_turn(time.monotonic() + self._patience)
        try:
            yield
        finally:
            turn.end()

    def _take_turn(self, until: float) -> Turn:
        turn = turn_at(str(self.settings_dict["NAME"]))
        if not turn.begin(until):
            locked = sqlite3.OperationalError("database is locked")
            locked.sqlite_errorcode = sqlite3.SQLITE_BUSY
            raise OperationalError("database is locked") from locked
        return turn

    def _start_transaction_under_autocommit(self) -> None:
        until = time.monotonic() + self._patience
        self._turn = turn = self._take_turn(until)
        try:
            with self.wrap_database_errors:
                self._sqlite_waits(0)
                while not self._begin(last=time.monotonic() > until):
                    turn.wait()
            turn.has_come()
        except BaseException:
            self._end_turn()
            raise

    def _begin(self, *, last: bool) -> bool:
        """Whether no other process writes; raises sqlite3.OperationalError where one does still."""
        try:
            self.connection.execute(f"BEGIN {self.settings_dict['OPTIONS']['transaction_mode']}")
        except sqlite3.OperationalError as error:
            if last or error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                raise
            return False
        return True

    def _commit(self) -> None:
        try:
            super()._commit()  # type: ignore[misc]
        finally:
            self._end_turn()

    def _rollback(self) -> None:
        try:
            super()._rollback()  # type: ignore[misc]
        finally:
            self._end_turn()

    def _close(self) -> None:
        try:
            super()._close()  # type: ignore[misc]
        finally:
            self._end_turn(closed=True)

    def _end_turn(self, *, closed: bool = False) -> None:
        if self._turn is None:
            return
        self._turn.end()
        self._turn = None
        if not closed:
            self._sqlite_waits(self._patience)

    def _sqlite_waits(self, seconds: float) -> None:
        """How long SQLite's own handler sleeps, which serves what is not in a transaction."""
        self.connection.execute(f"PRAGMA busy_timeout = {int(seconds * 1000)}")

    @property
    def _patience(self) -> float:
        return float(self.settings_dict["OPTIONS"].get("timeout", 5))
