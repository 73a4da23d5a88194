"""From DATABASE_URL to Django's DATABASES, with the options our promises rest on."""

from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from taskyard.server.env import BadEnvironment

# A worker takes a few rows in the order of an index, whatever is in the table. Statistics are of
# a table that was almost empty, or full of what has ended: by them a claim from a backlog of
# 60,000 sorts all of it (90 ms instead of 2), and an ending walks what is in progress.
FOR_WORKERS = " ".join(
    f"-c {setting}"
    for setting in (
        "plan_cache_mode=force_generic_plan",
        "enable_seqscan=off",
        "enable_bitmapscan=off",
        "enable_sort=off",
        "jit=off",
        # What is run without a claim has no lease: a worker that vanishes in the middle may not
        # keep its rows locked. Its own guard ends it after a second.
        "idle_in_transaction_session_timeout=5s",
    )
)


def database(
    url: str | None, *, home: Path, for_worker: bool, answer_seconds: float | None = None
) -> dict[str, Any]:
    """Settings of the default database. Raises BadEnvironment for an incomplete address.

    ``answer_seconds`` is how long PostgreSQL may take to answer before it counts as away.
    """
    if url is None:
        return _sqlite(home / "taskyard.sqlite3")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise BadEnvironment(f"DATABASE_URL: {error}") from None
    if parts.scheme == "sqlite":
        # As everywhere: sqlite:///relative.db and sqlite:////absolute.db
        return _sqlite(Path(unquote(parts.path)[1:]).absolute())
    name = unquote(parts.path)[1:]
    if not name:
        raise BadEnvironment("DATABASE_URL: names no database")
    query = dict(parse_qsl(parts.query))
    return {
        "ENGINE": "taskyard.server.postgresql",
        "NAME": name,
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": query.pop("host", None) or unquote(parts.hostname or ""),
        "PORT": port or query.pop("port", ""),
        # A new connection costs five milliseconds, and a pool does not survive prefork.
        "CONN_MAX_AGE": None,
        "CONN_HEALTH_CHECKS": True,
        "DISABLE_SERVER_SIDE_CURSORS": False,
        "OPTIONS": {
            # Values travel beside the statement, or none could be prepared.
            "server_side_binding": True,
            # Django turns prepared statements off unless it is named.
            "prepare_threshold": 5,
            # A database that went away must be an answer within five seconds.
            "connect_timeout": 3,
            "tcp_user_timeout": 4000,
            "answer_seconds": answer_seconds,
            "keepalives": 1,
            "keepalives_idle": 5,
            "keepalives_interval": 1,
            "keepalives_count": 3,
            **({"options": FOR_WORKERS} if for_worker else {}),
            **query,
        },
    }


def _sqlite(path: Path) -> dict[str, Any]:
    return {
        "ENGINE": "taskyard.server.sqlite",
        "NAME": path,
        "CONN_MAX_AGE": None,
        "OPTIONS": {
            # Writers queue instead of failing.
            "transaction_mode": "IMMEDIATE",
            "timeout": 10,
            # A 201 survives a power cut. What a create leaves in the log, 30 kB, is for the most
            # part what the next one changes again.
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
            " PRAGMA wal_autocheckpoint=10000;",
        },
    }
