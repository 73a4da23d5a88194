"""What `taskyard doctor` and each start say of a database that answers, but not as it should."""

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
    """Whether what was accepted survives a crash and a power cut."""
    found = _sqlite_unsafe() if connection.vendor == "sqlite" else _postgresql_unsafe()
    if not found:
        return True, "what is accepted survives a power cut"
    return False, f"{', '.join(found)}: what is accepted may be lost"


def session() -> Finding:
    """Whether sessions of PostgreSQL have the settings that Taskyard relies on."""
    options = connection.settings_dict["OPTIONS"]
    if options.get("pool_mode") != "transaction":
        return True, "set on each connection"
    missing = [f"{name} = {value}" for name, value in _not_set(options["session"])]
    if not missing:
        return True, "set by the pooler"
    return False, f"set in the pooler's connect_query: {'; '.join(missing)}"


def warnings() -> list[str]:
    """A line for each check that finds something.

    Raises ConfigurationError for a database that cannot be used so. One that is away is allowed:
    it may come.
    """
    try:
        with catch_warnings():
            # Django is not set up here, nor does it have to be.
            simplefilter("ignore", RuntimeWarning)
            found = [(check.__name__, *check()) for check in (durability, session)]
        return [f"{name}: {detail}" for name, fine, detail in found if not fine]
    except (DatabaseError, InterfaceError) as error:
        if isinstance(error.__cause__, SessionsShared):
            raise ConfigurationError(str(error)) from None
        return []
    finally:
        connection.close()


def _sqlite_unsafe() -> list[str]:
    with connection.cursor() as cursor:
        synchronous = cursor.execute("PRAGMA synchronous").fetchone()[0]
        journal = cursor.execute("PRAGMA journal_mode").fetchone()[0]
    found = ["synchronous is below FULL"] if synchronous < FULL else []
    return found + [f"journal_mode is {journal}"] * (journal in ("off", "memory"))


def _postgresql_unsafe() -> list[str]:
    settings = _current(list(UNSAFE))
    return [f"{name} is off" for name, unsafe in UNSAFE.items() if settings[name] == unsafe]


def _not_set(wanted: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Those settings that differ, where the server knows them; 0 is no timeout at all."""
    found = _current(list(wanted))
    for name, value in wanted.items():
        if value != "0" and found.get(name, value) != value:
            yield name, value


def _current(names: list[str]) -> dict[str, str]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT name, current_setting(name) FROM pg_settings WHERE name = ANY(%s)", [names]
        )
        return dict(cursor.fetchall())
