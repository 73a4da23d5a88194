"""Django's PostgreSQL backend, where a server that hangs is one that is away.

TCP's own timeouts see a peer whose kernel is silent. They do not see a server that was stopped,
waits for its disk, or sits behind a proxy that accepts everything; without a bound a request, or
the guard of a worker, would wait for it for ever.
"""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from django.db.backends.postgresql import base
from psycopg import Connection, OperationalError

# A connection that answered so lately is taken for sound: asking first costs a round trip.
SOUND_SECONDS = 1.0
# With the time of a new connection (three seconds) a request's answer comes within five.
HEALTH_SECONDS = 1.5
# After an answer that did not come, new connections fail at once for so long: requests that
# queue for the threads do not wait for it one after the other.
PAUSE_SECONDS = 2.0


class DatabaseWrapper(base.DatabaseWrapper):
    """``OPTIONS["answer_seconds"]`` is how long any answer may take; without it, for ever."""

    _hung_until = 0.0
    _answer_seconds: float | None = None
    _answered_at = -math.inf

    def get_connection_params(self) -> dict[str, Any]:
        params = super().get_connection_params()
        self._answer_seconds = params.pop("answer_seconds", None)
        return params

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        if self._answer_seconds and time.monotonic() < DatabaseWrapper._hung_until:
            raise OperationalError("the database did not answer a moment ago")
        began = time.monotonic()
        try:
            connection = super().get_new_connection(conn_params)
        except OperationalError:
            if time.monotonic() - began > HEALTH_SECONDS:
                self._note_that_it_hangs()
            raise
        connection.wait = partial(self._wait, connection)
        return connection

    def is_usable(self) -> bool:
        if time.monotonic() - self._answered_at < SOUND_SECONDS:
            return not self.connection.closed
        with self._answering_within(HEALTH_SECONDS):
            return super().is_usable()

    @contextmanager
    def _answering_within(self, seconds: float) -> Iterator[None]:
        before = self._answer_seconds
        self._answer_seconds = before and min(before, seconds)
        try:
            yield
        finally:
            self._answer_seconds = before

    def _wait(self, connection: Connection, *args: Any, **how: Any) -> Any:
        seconds = how.setdefault("timeout", self._answer_seconds)
        began = time.monotonic()
        try:
            answer = Connection.wait(connection, *args, **how)
        except OperationalError:
            if seconds and time.monotonic() - began >= seconds:
                # The answer may still come, and nobody may take it for another's.
                connection.pgconn.finish()
                # A kept connection may be dead alone; a statement was sent on one that lived.
                if seconds > HEALTH_SECONDS:
                    self._note_that_it_hangs()
            self._answered_at = -math.inf
            raise
        self._answered_at = time.monotonic()
        return answer

    def _note_that_it_hangs(self) -> None:
        DatabaseWrapper._hung_until = time.monotonic() + PAUSE_SECONDS
