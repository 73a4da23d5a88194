"""Django's SQLite backend, where writers take turns instead of sleeping.

SQLite's own busy handler sleeps longer with each look, up to 100 ms (its source,
``sqliteDefaultBusyCallback``): under load the file lies idle while all sleep, and the unlucky are
overtaken by everybody. Here one thread of a process at a time asks for the file, and while another
process writes it looks again soon; a write takes a third of a millisecond.
"""

import os
import sqlite3
import threading
import time

from django.db import OperationalError
from django.db.backends.sqlite3 import base

LOOK_SECONDS = 0.0003
FORK_SECONDS = 2.0
_turns: dict[str, threading.Lock] = {}
_kept_from_writing: list[threading.Lock] = []


def _before_fork() -> None:
    """A new process has a copy of SQLite's memory, and what a thread had locked there nobody would
    ever unlock: it could not write. So nobody writes meanwhile."""
    for turn in list(_turns.values()):
        if turn.acquire(timeout=FORK_SECONDS):
            _kept_from_writing.append(turn)


def _in_the_parent() -> None:
    while _kept_from_writing:
        _kept_from_writing.pop().release()


def _in_the_child() -> None:
    _turns.clear()
    _kept_from_writing.clear()


os.register_at_fork(
    before=_before_fork, after_in_parent=_in_the_parent, after_in_child=_in_the_child
)


class DatabaseWrapper(base.DatabaseWrapper):
    """A transaction waits for its turn as long as ``OPTIONS["timeout"]`` says, seconds."""

    _turn: "threading.Lock | None" = None

    def _start_transaction_under_autocommit(self) -> None:
        until = time.monotonic() + self._patience
        turn = _turns.setdefault(str(self.settings_dict["NAME"]), threading.Lock())
        if not turn.acquire(timeout=self._patience):
            raise OperationalError("database is locked")
        self._turn = turn
        try:
            with self.wrap_database_errors:
                self._sqlite_waits(0)
                while not self._begin(last=time.monotonic() > until):
                    time.sleep(LOOK_SECONDS)
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
        self._turn.release()
        self._turn = None
        if not closed:
            self._sqlite_waits(self._patience)

    def _sqlite_waits(self, seconds: float) -> None:
        """How long SQLite's own handler sleeps, which serves what is not in a transaction."""
        self.connection.execute(f"PRAGMA busy_timeout = {int(seconds * 1000)}")

    @property
    def _patience(self) -> float:
        return float(self.settings_dict["OPTIONS"].get("timeout", 5))
