"""From DATABASE_URL to Django's DATABASES, with the options our promises rest on."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from taskyard.server.env import ConfigurationError, boolean, choice
from taskyard.server.postgresql import session

CONNECT_SECONDS = 3
# Of several hosts each has so long, and all of them together the time of one.
CONNECT_SECONDS_EACH = 2


def database(
    url: str | None, *, home: Path, for_worker: bool, answer_seconds: float | None = None
) -> dict[str, Any]:
    """Settings of the default database. Raises ConfigurationError for an address that is of no use.

    ``answer_seconds`` is how long PostgreSQL may take to answer before it counts as away.
    """
    if url is None:
        return {**_sqlite(home / "taskyard.sqlite3"), "TASKYARD_HOME": home}
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise ConfigurationError(f"DATABASE_URL: {error}") from None
    if parts.scheme == "sqlite":
        # As everywhere: sqlite:///relative.db and sqlite:////absolute.db
        return _sqlite(Path(unquote(parts.path)[1:]).absolute())
    return _postgresql(
        parts,
        session.relied_upon(for_worker=for_worker, answer_seconds=answer_seconds),
        answer_seconds=answer_seconds,
    )


def _postgresql(
    parts: SplitResult, settings: dict[str, str], *, answer_seconds: float | None
) -> dict[str, Any]:
    name = unquote(parts.path)[1:]
    if not name:
        raise ConfigurationError("DATABASE_URL: names no database")
    hosts, ports = _hosts(parts.netloc.rpartition("@")[2])
    options = _options(parts.query)
    hosts, ports = options.pop("host", hosts), options.pop("port", ports)
    in_transactions = options.get("pool_mode") == "transaction"
    given = session.given(str(options.get("options", "")))
    if given is not None:
        # A pooler takes no options when it is connected to.
        options.pop("options", None)
    if in_transactions and given != {}:
        raise ConfigurationError("DATABASE_URL: options are lost with pool_mode=transaction")
    return {
        "ENGINE": "taskyard.server.postgresql",
        "NAME": name,
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": hosts,
        "PORT": ports,
        # A new connection costs five milliseconds, and a pool does not survive prefork.
        "CONN_MAX_AGE": None,
        "CONN_HEALTH_CHECKS": True,
        "DISABLE_SERVER_SIDE_CURSORS": in_transactions,
        "OPTIONS": {
            # Values travel beside the statement, or none could be prepared.
            "server_side_binding": True,
            # Django turns prepared statements off unless it is named. One that was prepared in a
            # session is not there in the next.
            "prepare_threshold": None if in_transactions else 5,
            # A database that went away must be an answer within five seconds.
            "connect_timeout": CONNECT_SECONDS_EACH if "," in hosts else CONNECT_SECONDS,
            # Of several servers the one that takes writes.
            **({"target_session_attrs": "read-write"} if "," in hosts else {}),
            "tcp_user_timeout": 4000,
            "answer_seconds": answer_seconds,
            "session": {**settings, **(given or {})},
            "keepalives": 1,
            "keepalives_idle": 5,
            "keepalives_interval": 1,
            "keepalives_count": 3,
            **options,
        },
    }


def _hosts(netloc: str) -> tuple[str, str]:
    """Hosts and ports, each separated by commas as libpq takes them."""
    if not netloc:
        return "", ""
    found = [_host(each) for each in netloc.split(",")]
    ports = [port for _, port in found]
    return ",".join(host for host, _ in found), ",".join(ports) if any(ports) else ""


def _host(text: str) -> tuple[str, str]:
    try:
        parts = urlsplit(f"//{text}")
        port = parts.port
    except ValueError as error:
        raise ConfigurationError(f"DATABASE_URL: {error}") from None
    return unquote(parts.hostname or ""), str(port or "")


def _whole(text: str) -> int:
    if not text.isascii() or not text.isdecimal():
        raise ValueError("expected a whole number")
    return int(text)


def _whole_or_none(text: str) -> int | None:
    return None if text.lower() in ("none", "off", "") else _whole(text)


def _flag(text: str) -> int:
    return int(boolean(text))


# What is no text to psycopg or libpq; everything else of libpq's goes to it as it stands.
READERS: dict[str, Callable[[str], Any]] = {
    "prepare_threshold": _whole_or_none,
    "server_side_binding": boolean,
    "pool_mode": choice("session", "transaction"),
    "connect_timeout": _whole,
    "keepalives": _flag,
    "keepalives_idle": _whole,
    "keepalives_interval": _whole,
    "keepalives_count": _whole,
    "tcp_user_timeout": _whole,
    "sslcompression": _flag,
    "sslsni": _flag,
}


def _options(query: str) -> dict[str, Any]:
    """The options of the address. Raises ConfigurationError for one that is not known."""
    from psycopg.pq import Conninfo

    known = {option.keyword.decode() for option in Conninfo.get_defaults()} | READERS.keys()
    options: dict[str, Any] = {}
    for name, text in parse_qsl(query, keep_blank_values=True):
        if name not in known:
            raise ConfigurationError(f"DATABASE_URL: {name} is not an option of a connection")
        try:
            options[name] = READERS.get(name, str)(text)
        except ValueError as error:
            raise ConfigurationError(f"DATABASE_URL: {name}: {error}") from None
    return options


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
