"""Give handlers a connection of their own to the default database (ADR 23).

While a handler runs, ``connections["default"]`` of the process's main thread is the handler's
connection. The handler's first statement opens it, and it is reset for the next handler. Taskyard's
own statements use our connection, from any thread or event loop.
"""

import asyncio
import copy
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS as DEFAULT
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.db.utils import load_backend

from taskyard.core import sessions
from taskyard.worker.timer import deferring

Answer = TypeVar("Answer")
# The parts of DISCARD ALL, except that the client's prepared statements stay.
_AS_NEW = """
    CLOSE ALL; SET SESSION AUTHORIZATION DEFAULT; RESET ALL; UNLISTEN *;
    SELECT pg_advisory_unlock_all(); DISCARD TEMP; DISCARD SEQUENCES
"""


class HandlerDatabase:
    """The two connections of one process, which runs one handler at a time."""

    def __init__(self) -> None:
        self.was_used = False
        # Called before the handler's first statement.
        self.before_use: Callable[[], None] | None = None
        self._lock = threading.RLock()
        self._ours: BaseDatabaseWrapper | None = None
        self._theirs: BaseDatabaseWrapper | None = None
        self._pristine: dict[str, Any] = {}
        self._thread: ThreadPoolExecutor | None = None

    def begin(self) -> None:
        """In a new process: make a connection for us. Later connections are the handlers'."""
        ours = copy.deepcopy(connections.settings[DEFAULT])
        connections[DEFAULT] = load_backend(ours["ENGINE"]).DatabaseWrapper(ours, DEFAULT)
        sessions.mark_as_workers(connections[DEFAULT])
        theirs = connections.settings[DEFAULT]
        theirs["OPTIONS"] = theirs.get("HANDLER_OPTIONS") or theirs.get("OPTIONS", {})

    def forget(self) -> None:
        """In a process that a handler forked: drop all state, because it must not be used."""
        self.__init__()  # type: ignore[misc]

    @contextmanager
    def lent(self) -> Iterator[None]:
        """In this block the default connection is the handler's."""
        if self._theirs is None:
            self._theirs = self._connection()
        self._ours = connections[DEFAULT]
        connections[DEFAULT] = self._theirs
        try:
            yield
        finally:
            with self._lock:
                connections[DEFAULT], self._ours = self._ours, None
            self.make_as_new()

    @contextmanager
    def ours(self) -> Iterator[None]:
        """In this block the default connection of this thread is ours. One thread at a time."""
        with self._lock:
            if self._ours is None:
                yield
                return
            before = _of_this_thread()
            connections[DEFAULT] = self._ours
            try:
                yield
            finally:
                if before is None:
                    del connections[DEFAULT]
                else:
                    connections[DEFAULT] = before

    def ask(self, question: Callable[[], Answer]) -> Answer:
        """Call ``question`` with our connection, from any thread, also in a running event loop."""
        if threading.current_thread() is threading.main_thread() and not in_a_loop():
            with deferring(), self.ours():
                return question()
        return self.ask_later(question).result()

    def ask_later(self, question: Callable[[], Answer]) -> "Future[Answer]":
        """The same in a thread, without waiting for the answer."""
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="taskyard-reports")
        return self._thread.submit(self._ask_here, question)

    def holds_the_file(self) -> bool:
        """Whether the handler's transaction in this thread blocks our writes: on SQLite only."""
        current = _of_this_thread()
        return current is not None and current.vendor == "sqlite" and _in_transaction(current)

    def make_as_new(self) -> None:
        """Reset or replace the connections that the handler has changed, for the next handler."""
        self.before_use = None
        if len(settings.DATABASES) > 1:
            _drop_unfinished()
        if self._theirs is not None and not self._is_as_new(self._theirs):
            _close(self._theirs)
            self._theirs = None
        self.was_used = False
        if self._ours is not None:
            self._theirs = connections[DEFAULT] = self._theirs or self._connection()

    def _is_as_new(self, theirs: BaseDatabaseWrapper) -> bool:
        changed = (
            _in_transaction(theirs)
            or theirs.errors_occurred
            or theirs.execute_wrappers
            or theirs.force_debug_cursor
            or theirs.settings_dict != self._pristine
        )
        if changed:
            return False
        return theirs.connection is None or not self.was_used or self._is_reset(theirs)

    def _is_reset(self, theirs: Any) -> bool:
        """Reset a session; whether it is like a new one. False on SQLite, as a new one is cheap."""
        if theirs.vendor != "postgresql":
            return False
        session = theirs.connection
        levels = (None, theirs.isolation_level)
        try:
            if session.read_only or session.deferrable or session.isolation_level not in levels:
                return False
            session.execute(_AS_NEW, prepare=False)
            theirs.init_connection_state()
        except Exception:  # of the driver or of Django
            return False
        return True

    def _connection(self) -> BaseDatabaseWrapper:
        """A new connection for the handler, not open yet, that notes its first use."""
        options = copy.deepcopy(connections.settings[DEFAULT])
        self._pristine = copy.deepcopy(options)
        backend = load_backend(options["ENGINE"])
        theirs: BaseDatabaseWrapper = backend.DatabaseWrapper(options, DEFAULT)
        ensure = theirs.ensure_connection

        def ensure_connection() -> None:
            self.was_used = True
            if (before_use := self.before_use) is not None:
                self.before_use = None
                before_use()
            ensure()

        theirs.ensure_connection = ensure_connection  # type: ignore[method-assign]
        return theirs

    def _ask_here(self, question: Callable[[], Answer]) -> Answer:
        with self._lock:
            if self._ours is None:
                return question()
            self._ours.inc_thread_sharing()
            try:
                with self.ours():
                    return question()
            finally:
                self._ours.dec_thread_sharing()

    def note(self, connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
        """Note that a connection was opened, by a handler's thread or to another database.

        Outside of ``lent`` the connection is ours.
        """
        if self._ours is not None and connection is not self._ours:
            self.was_used = True


def in_a_loop() -> bool:
    """Whether an event loop runs in this thread. There Django refuses database access."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _of_this_thread() -> BaseDatabaseWrapper | None:
    """The default connection of this thread, if it has one."""
    for connection in connections.all(initialized_only=True):
        if connection.alias == DEFAULT:
            return connection
    return None


def _in_transaction(connection: BaseDatabaseWrapper) -> bool:
    return connection.in_atomic_block or (
        connection.connection is not None and not connection.autocommit
    )


def _drop_unfinished() -> None:
    for other in connections.all(initialized_only=True):
        if other.alias != DEFAULT and (_in_transaction(other) or other.errors_occurred):
            _close(other)
            del connections[other.alias]


def _close(connection: BaseDatabaseWrapper) -> None:
    with suppress(Exception):  # it may be in any state, and is not used again
        connection.close()


database = HandlerDatabase()
connection_created.connect(database.note)
