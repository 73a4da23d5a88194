"""Django's PostgreSQL backend with a time limit on every answer and with our session settings.

A server that is alive cancels a slow statement itself, by the session's timeouts. The time limit
here is for a server that does not answer at all: one that is stopped, that waits for its disk, or
that is behind a proxy which accepts every connection. TCP's own timeouts do not detect these,
because the peer's kernel still answers. Such a server counts as away for all requests.
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

# A connection that answered so recently needs no check, which would cost a round trip.
SOUND_SECONDS = 1.0
# A busy connection is still checked this often: after a switchover the old primary still answers,
# but is read-only.
CHECK_SECONDS = 2.0
# Together with a new connection (three seconds) a request has its response within five seconds.
HEALTH_SECONDS = 1.5


class Server:
    """Whether the server answers this process.

    While it does not, one thread at a time tries to connect, and the others fail at once. Else
    waiting requests would each wait for a timeout, one after the other.
    """

    def __init__(self) -> None:
        self.answered_at = -math.inf
        self.is_away = False
        self._connecting = threading.Lock()

    def note_timeout(self, started_at: float) -> None:
        """Mark the server as away, unless it answered another thread since ``started_at``."""
        if self.answered_at < started_at:
            self.is_away = True

    @contextmanager
    def connecting(self) -> Iterator[None]:
        """Wrap an attempt to connect.

        Raises OperationalError at once while the server is away and another thread tries.
        """
        if not self.is_away:
            yield
            return
        if not self._connecting.acquire(blocking=False):
            raise OperationalError("the database did not answer a moment ago")
        try:
            yield
            self.is_away = False
        finally:
            self._connecting.release()


class DatabaseWrapper(base.DatabaseWrapper):
    """Adds three options.

    ``answer_seconds``: the time limit of any answer; without it there is none.
    ``session``: the settings of each session.
    ``pool_mode``: with "transaction" no settings are made, because the next transaction may get
    another session.
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
        started_at = time.monotonic()
        with self._server.connecting():
            try:
                connection = super().get_new_connection(conn_params)
            except OperationalError:
                if time.monotonic() - started_at > HEALTH_SECONDS:
                    self._server.note_timeout(started_at)
                raise
        connection.wait = partial(self._wait, connection)
        self._checked_at = time.monotonic()
        return connection

    def init_connection_state(self) -> None:
        try:
            self._set_session()
            super().init_connection_state()
        except BaseException:
            # Django keeps the connection, but it must not be used without these settings.
            self.close()
            raise

    def is_usable(self) -> bool:
        if self._server.is_away:
            return False  # a new connection shows whether it is back
        now = time.monotonic()
        is_sound = (
            now - self._answered_at < SOUND_SECONDS and now - self._checked_at < CHECK_SECONDS
        )
        if is_sound and not self.errors_occurred:
            return not self.connection.closed
        self._checked_at = now
        try:
            with self._answering_within(HEALTH_SECONDS):
                row = self.connection.execute("SHOW transaction_read_only").fetchone()
        except Error:
            return False
        return bool(row == ("off",))

    @contextmanager
    def answering_within(self, seconds: float) -> Iterator[None]:
        """Give the statements of this block, which is in a transaction, so many seconds."""
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
        settings = session.supported(self._session, self.connection.info.server_version)
        if not settings:
            return
        if not DatabaseWrapper._sessions_are_ours:
            if pooler.is_pooled(self.connection):
                params = self.get_connection_params()
                pooler.refuse_shared_sessions(self.connection, params)
            DatabaseWrapper._sessions_are_ours = True
        calls = ", ".join(["set_config(%s, %s, false)"] * len(settings))
        with self.connection.cursor() as cursor:
            cursor.execute(f"SELECT {calls}", [text for pair in settings.items() for text in pair])

    def _wait(self, connection: Connection, *args: Any, **options: Any) -> Any:
        """psycopg's ``Connection.wait`` with the time limit."""
        seconds = options.setdefault("timeout", self._answer_seconds)
        started_at = time.monotonic()
        try:
            answer = Connection.wait(connection, *args, **options)
        except OperationalError as error:
            if error.sqlstate:
                self._server.answered_at = time.monotonic()
            elif seconds and time.monotonic() - started_at >= seconds:
                # The answer may still come; it must not be read as that of a later statement.
                connection.pgconn.finish()
                # After a failed health check only this connection may be dead, not the server.
                if seconds > HEALTH_SECONDS:
                    self._server.note_timeout(started_at)
            raise
        self._answered_at = self._server.answered_at = time.monotonic()
        return answer
