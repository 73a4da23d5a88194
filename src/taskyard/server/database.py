"""Turn DATABASE_URL into Django's DATABASES, with the options that our guarantees need."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from taskyard.server.env import ConfigurationError
from taskyard.server.postgresql import session

CONNECT_SECONDS = 3
# The timeout of each host if the URL names several.
CONNECT_SECONDS_EACH = 2


def database(
    url: str | None, *, home: Path, for_worker: bool, answer_seconds: float | None = None
) -> dict[str, Any]:
    """The settings of the default database. Raises ConfigurationError for a URL that cannot work.

    If PostgreSQL takes longer than ``answer_seconds`` to answer, it counts as away.
    """
    if url is None:
        return {**_sqlite(home / "taskyard.sqlite3"), "TASKYARD_HOME": home}
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise ConfigurationError(f"DATABASE_URL: {error}") from None
    if parts.scheme == "sqlite":
        # As in other projects: sqlite:///relative.db and sqlite:////absolute.db
        return _sqlite(Path(unquote(parts.path)[1:]).absolute())
    return _postgresql(
        parts,
        session.required_settings(for_worker=for_worker, answer_seconds=answer_seconds),
        answer_seconds=answer_seconds,
    )


def _postgresql(
    parts: SplitResult, session_settings: dict[str, str], *, answer_seconds: float | None
) -> dict[str, Any]:
    name = unquote(parts.path)[1:]
    if not name:
        raise ConfigurationError("DATABASE_URL: names no database")
    hosts, ports = _hosts(parts.netloc.rpartition("@")[2])
    options = _options(parts.query)
    hosts, ports = options.pop("host", hosts), options.pop("port", ports)
    pools_transactions = options.get("pool_mode") == "transaction"
    url_settings = session.parse_options(str(options.get("options", "")))
    if url_settings is not None:
        # Poolers refuse connections with options, so the settings are made by SQL later.
        options.pop("options", None)
    if pools_transactions and url_settings != {}:
        raise ConfigurationError("DATABASE_URL: options are lost with pool_mode=transaction")
    return {
        "ENGINE": "taskyard.server.postgresql",
        "NAME": name,
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": hosts,
        "PORT": ports,
        # A new connection costs five milliseconds, and psycopg's pool does not survive a fork.
        "CONN_MAX_AGE": None,
        "CONN_HEALTH_CHECKS": True,
        "DISABLE_SERVER_SIDE_CURSORS": pools_transactions,
        "OPTIONS": {
            # Only statements whose values are sent separately can be prepared.
            "server_side_binding": True,
            # Django's default is None, which turns prepared statements off. They cannot be used if
            # each transaction may run in another session.
            "prepare_threshold": None if pools_transactions else 5,
            # If the database is away, requests must get a response within five seconds.
            "connect_timeout": CONNECT_SECONDS_EACH if "," in hosts else CONNECT_SECONDS,
            # Of several servers use the primary.
            **({"target_session_attrs": "read-write"} if "," in hosts else {}),
            "tcp_user_timeout": 4000,
            "answer_seconds": answer_seconds,
            "session": {**session_settings, **(url_settings or {})},
            "keepalives": 1,
            "keepalives_idle": 5,
            "keepalives_interval": 1,
            "keepalives_count": 3,
            **options,
        },
    }


def _hosts(netloc: str) -> tuple[str, str]:
    """Hosts and ports, each separated by commas as libpq reads them."""
    if not netloc:
        return "", ""
    pairs = [_host_and_port(text) for text in netloc.split(",")]
    ports = [port for _, port in pairs]
    return ",".join(host for host, _ in pairs), ",".join(ports) if any(ports) else ""


def _host_and_port(text: str) -> tuple[str, str]:
    try:
        parts = urlsplit(f"//{text}")
        port = parts.port
    except ValueError as error:
        raise ConfigurationError(f"DATABASE_URL: {error}") from None
    return unquote(parts.hostname or ""), str(port or "")


def _boolean(text: str) -> bool:
    if text.lower() in ("1", "true", "yes", "on"):
        return True
    if text.lower() in ("0", "false", "no", "off"):
        return False
    raise ValueError("expected true or false")


def _pool_mode(text: str) -> str:
    if text not in ("session", "transaction"):
        raise ValueError("expected session or transaction")
    return text


def _integer(text: str) -> int:
    if not text.isascii() or not text.isdecimal():
        raise ValueError("expected a whole number")
    return int(text)


def _integer_or_none(text: str) -> int | None:
    return None if text.lower() in ("none", "off", "") else _integer(text)


def _flag(text: str) -> int:
    return int(_boolean(text))


# Options that psycopg or libpq does not take as text; all other options of libpq are passed on.
PARSERS: dict[str, Callable[[str], Any]] = {
    "prepare_threshold": _integer_or_none,
    "server_side_binding": _boolean,
    "pool_mode": _pool_mode,
    "connect_timeout": _integer,
    "keepalives": _flag,
    "keepalives_idle": _integer,
    "keepalives_interval": _integer,
    "keepalives_count": _integer,
    "tcp_user_timeout": _integer,
    "sslcompression": _flag,
    "sslsni": _flag,
}


def _options(query: str) -> dict[str, Any]:
    """The options of the URL. Raises ConfigurationError for an unknown option."""
    from psycopg.pq import Conninfo

    known = {option.keyword.decode() for option in Conninfo.get_defaults()} | PARSERS.keys()
    options: dict[str, Any] = {}
    for name, text in parse_qsl(query, keep_blank_values=True):
        if name not in known:
            raise ConfigurationError(f"DATABASE_URL: {name} is not an option of a connection")
        try:
            options[name] = PARSERS.get(name, str)(text)
        except ValueError as error:
            raise ConfigurationError(f"DATABASE_URL: {name}: {error}") from None
    return options


def _sqlite(path: Path) -> dict[str, Any]:
    return {
        "ENGINE": "taskyard.server.sqlite",
        "NAME": path,
        "CONN_MAX_AGE": None,
        "OPTIONS": {
            # A transaction that begins as a reader could not become a writer later.
            "transaction_mode": "IMMEDIATE",
            "timeout": 10,
            # FULL: an accepted task survives a power cut. A create adds 30 kB to the WAL, mostly
            # pages that the next create changes again, so checkpoints are rare.
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
            " PRAGMA wal_autocheckpoint=10000;",
        },
    }
