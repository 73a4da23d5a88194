"""Find out whether a pooler gives each transaction another session of PostgreSQL."""

from typing import Any

from psycopg import Connection, OperationalError

LOOKS = 5


class SessionsShared(OperationalError):
    """Settings of a session would be lost, or be another's."""


def is_pooled(connection: Connection) -> bool:
    """Whether the process that serves this connection is not the one that greeted it."""
    return connection.info.backend_pid != _process(connection)


def refuse_shared_sessions(connection: Connection, params: dict[str, Any]) -> None:
    """Raise SessionsShared if two connections that are both open get one and the same session.

    In session mode that cannot be. In transaction mode it is what a pooler does with the session
    that was used last, unless another client is quicker; hence several looks.
    """
    with Connection.connect(**{**params, "autocommit": True}) as other:
        for _ in range(LOOKS):
            if _process(connection) == _process(other):
                raise SessionsShared(
                    "DATABASE_URL leads to a pooler in transaction mode: "
                    "say so with ?pool_mode=transaction"
                )


def _process(connection: Connection) -> int:
    row = connection.execute("SELECT pg_backend_pid()").fetchone()
    return int(row[0]) if row else 0
