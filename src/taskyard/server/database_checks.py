"""Check the database's durability and session settings, for `taskyard doctor` and each start."""

from collections.abc import Iterator
from warnings import catch_warnings, simplefilter

from django.db import DatabaseError, InterfaceError, connection

from taskyard.server.env import ConfigurationError
from taskyard.server.postgresql.pooler import SessionsShared

Finding = tuple[bool, str]
# PRAGMA synchronous
FULL = 2
UNSAFE = {"synchronous_commit": "off", "fsync": "off", "full_page_writes": "off"}


def durability() -> Finding:
    """Whether accepted tasks survive a crash and a power cut."""
    problems = _sqlite_problems() if connection.vendor == "sqlite" else _postgresql_problems()
    if not problems:
        return True, "accepted tasks survive a power cut"
    return False, f"{', '.join(problems)}: accepted tasks may be lost"


def session() -> Finding:
    """Whether sessions of PostgreSQL have the settings that Taskyard needs."""
    options = connection.settings_dict["OPTIONS"]
    if options.get("pool_mode") != "transaction":
        return True, "set on each connection"
    missing = [f"{name} = {value}" for name, value in _missing_settings(options["session"])]
    if not missing:
        return True, "set by the pooler"
    return False, f"set in the pooler's connect_query: {'; '.join(missing)}"


def warnings() -> list[str]:
    """One line for each failed check; none if the database is away, as it may come back.

    Raises ConfigurationError for a pooler that shares sessions.
    """
    try:
        with catch_warnings():
            # Django warns of queries before it is set up; these checks need no setup.
            simplefilter("ignore", RuntimeWarning)
            results = [(check.__name__, *check()) for check in (durability, session)]
        return [f"{name}: {detail}" for name, ok, detail in results if not ok]
    except (DatabaseError, InterfaceError) as error:
        if isinstance(error.__cause__, SessionsShared):
            raise ConfigurationError(str(error)) from None
        return []
    finally:
        connection.close()


def _sqlite_problems() -> list[str]:
    with connection.cursor() as cursor:
        synchronous = cursor.execute("PRAGMA synchronous").fetchone()[0]
        journal = cursor.execute("PRAGMA journal_mode").fetchone()[0]
    problems = ["synchronous is below FULL"] if synchronous < FULL else []
    return problems + [f"journal_mode is {journal}"] * (journal in ("off", "memory"))


def _postgresql_problems() -> list[str]:
    settings = _current_settings(list(UNSAFE))
    return [f"{name} is off" for name, unsafe in UNSAFE.items() if settings[name] == unsafe]


def _missing_settings(required: dict[str, str]) -> Iterator[tuple[str, str]]:
    """The required settings that differ in the session and that this server version knows.

    "0" is skipped: it means that Taskyard needs no such timeout.
    """
    current = _current_settings(list(required))
    for name, value in required.items():
        if value != "0" and current.get(name, value) != value:
            yield name, value


def _current_settings(names: list[str]) -> dict[str, str]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT name, current_setting(name) FROM pg_settings WHERE name = ANY(%s)", [names]
        )
        return dict(cursor.fetchall())
