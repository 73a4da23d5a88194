"""The default database as handlers see it: over a connection of their own (ADR 23).

While a handler runs, ``connections["default"]`` of the process's main thread is the handler's. It
is opened by the handler's first statement and is as new for the next handler. What Taskyard itself
writes goes over ours, from whatever thread or event loop it is asked.
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

from taskyard.worker.timer import deferring

Answer = TypeVar("Answer")
# What DISCARD ALL does, without that the client's prepared statements would be gone.
_AS_NEW = """
    CLOSE ALL; SET SESSION AUTHORIZATION DEFAULT; RESET ALL; UNLISTEN *;
    SELECT pg_advisory_unlock_all(); DISCARD TEMP; DISCARD SEQUENCES
"""


class HandlerDatabase:
    """Of one process, which runs one handler at a time."""

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
        """In a new process: what it has is ours, and what is opened from now on the handlers'."""
        ours = copy.deepcopy(connections.settings[DEFAULT])
        connections[DEFAULT] = load_backend(ours["ENGINE"]).DatabaseWrapper(ours, DEFAULT)
        theirs = connections.settings[DEFAULT]
        theirs["OPTIONS"] = theirs.get("HANDLER_OPTIONS") or theirs.get("OPTIONS", {})

    def forget(self) -> None:
        """In a fork: nothing of it may be used."""
        self.__init__()  # type: ignore[misc]

    @contextmanager
    def lent(self) -> Iterator[None]:
        """In this block the default connection is the handlers'."""
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
        """In this block the default connection of this thread is ours, and nobody else's."""
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
        """Ask over our connection, from any thread, also from one in which an event loop runs."""
        if threading.current_thread() is threading.main_thread() and not in_a_loop():
            with deferring(), self.ours():
                return question()
        return self.ask_later(question).result()

    def ask_later(self, question: Callable[[], Answer]) -> "Future[Answer]":
        """The same, in a thread, without waiting for the answer."""
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="taskyard-reports")
        return self._thread.submit(self._ask_here, question)

    def holds_the_file(self) -> bool:
        """Whether this thread's own transaction keeps us from writing: on SQLite, until its end."""
        here = _of_this_thread()
        return here is not None and here.vendor == "sqlite" and _in_transaction(here)

    def make_as_new(self) -> None:
        """Let the next handler meet nothing of what this one has done to its connections."""
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
        """Whether the session is as a new one; on SQLite a new one is cheap."""
        if theirs.vendor != "postgresql":
            return False
        session = theirs.connection
        levels = (None, theirs.isolation_level)
        try:
            if session.read_only or session.deferrable or session.isolation_level not in levels:
                return False
            session.execute(_AS_NEW, prepare=False)
            theirs.init_connection_state()
        except Exception:  # the driver's own, and Django's
            return False
        return True

    def _connection(self) -> BaseDatabaseWrapper:
        """A new one, not yet open, that says when it is used."""
        given = copy.deepcopy(connections.settings[DEFAULT])
        self._pristine = copy.deepcopy(given)
        theirs: BaseDatabaseWrapper = load_backend(given["ENGINE"]).DatabaseWrapper(given, DEFAULT)
        ensure = theirs.ensure_connection

        def ensure_connection() -> None:
            self.was_used = True
            if (told := self.before_use) is not None:
                self.before_use = None
                told()
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
        """A connection was opened: by a handler's thread, or to another database.

        Outside of ``lent`` it is ours, with which the next handler has nothing to do.
        """
        if self._ours is not None and connection is not self._ours:
            self.was_used = True


def in_a_loop() -> bool:
    """Whether an event loop runs in this thread, in which Django refuses to be used."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _of_this_thread() -> BaseDatabaseWrapper | None:
    """The default connection of this thread, if there is one."""
    for found in connections.all(initialized_only=True):
        if found.alias == DEFAULT:
            return found
    return None


def _in_transaction(connection: BaseDatabaseWrapper) -> bool:
    return connection.in_atomic_block or (
        connection.connection is not None and not connection.autocommit
    )


def _drop_unfinished() -> None:
    for found in connections.all(initialized_only=True):
        if found.alias != DEFAULT and (_in_transaction(found) or found.errors_occurred):
            _close(found)
            del connections[found.alias]


def _close(connection: BaseDatabaseWrapper) -> None:
    with suppress(Exception):  # it may be in any state, and is thrown away
        connection.close()


database = HandlerDatabase()
connection_created.connect(database.note)
