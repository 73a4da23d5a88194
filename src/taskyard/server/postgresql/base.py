"""Django's PostgreSQL backend, with bounds on every answer and settings that are ours.

A request waits as long as its session's timeouts say, and a live server ends the wait itself. TCP's
own timeouts see a peer whose kernel is silent; they do not see a server that was stopped, waits for
its disk, or sits behind a proxy that accepts everything. Only a server that says nothing at all
counts as away, for every request.
"""

import math
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from django.db.backends.postgresql import base
from psycopg import Connection, Error, OperationalError

from taskyard.server.postgresql import pooler, session

# A connection that answered so lately is taken for sound: asking first costs a round trip.
SOUND_SECONDS = 1.0
# A busy one is asked now and then all the same whether its server still takes writes: after a
# switchover the old primary goes on answering.
CHECK_SECONDS = 2.0
# With the time of a new connection (three seconds) a request's answer comes within five.
HEALTH_SECONDS = 1.5


class Server:
    """Whether the server says anything at all to this process.

    While it does not, one thread at a time tries to connect, and the others fail at once: requests
    that queue for the threads do not wait for it one after the other.
    """

    def __init__(self) -> None:
        self.heard_at = -math.inf
        self.is_away = False
        self._trying = threading.Lock()

    def is_silent_since(self, began: float) -> None:
        """A wait since then has brought nothing. An answer to another would show a live server."""
        if self.heard_at < began:
            self.is_away = True

    @contextmanager
    def connecting(self) -> Iterator[None]:
        """Around an attempt to connect. Raises OperationalError while another tries in vain."""
        if not self.is_away:
            yield
            return
        if not self._trying.acquire(blocking=False):
            raise OperationalError("the database did not answer a moment ago")
        try:
            yield
            self.is_away = False
        finally:
            self._trying.release()


class DatabaseWrapper(base.DatabaseWrapper):
    """``OPTIONS["answer_seconds"]`` is how long any answer may take; without it, for ever.

    ``OPTIONS["session"]`` are the settings of each session. With ``OPTIONS["pool_mode"]``
    transaction, a pooler gives each transaction any session, and nothing is set.
    """

    _server = Server()
    _answer_seconds: float | None = None
    _session: Mapping[str, str] = {}
    _sessions_are_ours = False
    _answered_at = _checked_at = -math.inf

    def get_connection_params(self) -> dict[str, Any]:
        params = super().get_connection_params()
        self._answer_seconds = params.pop("answer_seconds", None)
        self._session = params.pop("session", {})
        if params.pop("pool_mode", "session") == "transaction":
            self._session = {}
        return params

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        if not self._answer_seconds:
            return super().get_new_connection(conn_params)
        began = time.monotonic()
        with self._server.connecting():
            try:
                connection = super().get_new_connection(conn_params)
            except OperationalError:
                if time.monotonic() - began > HEALTH_SECONDS:
                    self._server.is_silent_since(began)
                raise
        connection.wait = partial(self._wait, connection)
        self._checked_at = time.monotonic()
        return connection

    def init_connection_state(self) -> None:
        try:
            self._set_session()
            super().init_connection_state()
        except BaseException:
            # It is kept from now on, and must never be used with other settings.
            self.close()
            raise

    def is_usable(self) -> bool:
        if self._server.is_away:
            return False  # whether it is back, a new connection finds out
        now = time.monotonic()
        is_sound = (
            now - self._answered_at < SOUND_SECONDS and now - self._checked_at < CHECK_SECONDS
        )
        if is_sound and not self.errors_occurred:
            return not self.connection.closed
        self._checked_at = now
        try:
            with self._answering_within(HEALTH_SECONDS):
                found = self.connection.execute("SHOW transaction_read_only").fetchone()
        except Error:
            return False
        return bool(found == ("off",))

    @contextmanager
    def answering_within(self, seconds: float) -> Iterator[None]:
        """Let the statements of this block take so long; it is in a transaction."""
        if not self._answer_seconds:
            yield
            return
        with self.cursor() as cursor:
            limit = session.milliseconds(seconds * session.STATEMENT_PART)
            cursor.execute("SELECT set_config('statement_timeout', %s, true)", [limit])
        with self._answering_within(seconds):
            yield

    @contextmanager
    def _answering_within(self, seconds: float) -> Iterator[None]:
        before = self._answer_seconds
        self._answer_seconds = seconds if before else None
        try:
            yield
        finally:
            self._answer_seconds = before

    def _set_session(self) -> None:
        known = session.known_to(self._session, self.connection.info.server_version)
        if not known:
            return
        if not DatabaseWrapper._sessions_are_ours:
            if pooler.is_pooled(self.connection):
                params = self.get_connection_params()
                pooler.refuse_shared_sessions(self.connection, params)
            DatabaseWrapper._sessions_are_ours = True
        calls = ", ".join(["set_config(%s, %s, false)"] * len(known))
        with self.connection.cursor() as cursor:
            cursor.execute(f"SELECT {calls}", [text for pair in known.items() for text in pair])

    def _wait(self, connection: Connection, *args: Any, **how: Any) -> Any:
        seconds = how.setdefault("timeout", self._answer_seconds)
        began = time.monotonic()
        try:
            answer = Connection.wait(connection, *args, **how)
        except OperationalError as error:
            if error.sqlstate:
                self._server.heard_at = time.monotonic()
            elif seconds and time.monotonic() - began >= seconds:
                # The answer may still come, and nobody may take it for another's.
                connection.pgconn.finish()
                # A kept connection may be dead alone; a statement was sent on one that lived.
                if seconds > HEALTH_SECONDS:
                    self._server.is_silent_since(began)
            raise
        self._answered_at = self._server.heard_at = time.monotonic()
        return answer
