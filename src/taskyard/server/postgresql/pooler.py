"""Detect a pooler in transaction mode, which gives each transaction any session of PostgreSQL."""

from typing import Any

from psycopg import Connection, OperationalError

TRIES = 5


class SessionsShared(OperationalError):
    """The pooler shares sessions, so settings of a session would be lost or affect others."""


def is_pooled(connection: Connection) -> bool:
    """Whether another server process serves this connection than the one that accepted it."""
    return connection.info.backend_pid != _backend_pid(connection)


def refuse_shared_sessions(connection: Connection, params: dict[str, Any]) -> None:
    """Raise SessionsShared if two open connections get the same session.

    In session mode that is impossible. In transaction mode a pooler gives out the session that was
    used last, unless another client gets it first; so this tries several times.
    """
    with Connection.connect(**{**params, "autocommit": True}) as other:
        for _ in range(TRIES):
            if _backend_pid(connection) == _backend_pid(other):
                raise SessionsShared(
                    "DATABASE_URL leads to a pooler in transaction mode: "
                    "say so with ?pool_mode=transaction"
                )


def _backend_pid(connection: Connection) -> int:
    row = connection.execute("SELECT pg_backend_pid()").fetchone()
    return int(row[0]) if row else 0
