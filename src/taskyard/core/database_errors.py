"""Classify database errors: which of them are outages, and of what kind.

An outage passes without a change of the request or of the code: the caller may ask again. Every
other error is about the statement or its data, and asking again fails again. The SQLSTATE
(PostgreSQL manual, appendix A) or SQLite's result code decides, because drivers sort some outages
as ``InternalError`` or ``ProgrammingError``.
"""

import logging
import sqlite3
from enum import Enum

from django.db import DatabaseError, InterfaceError, OperationalError, connection

logger = logging.getLogger(__name__)


class Outage(Enum):
    """What is wrong with the database; the values are shown by ``/readyz`` and in the log."""

    AWAY = "away"
    READ_ONLY = "read_only"
    BUSY = "busy"  # this statement waited too long or lost against another; the next may pass
    FULL = "full"
    FORBIDDEN = "forbidden"
    UNMIGRATED = "unmigrated"
    MISSING = "missing"
    DAMAGED = "damaged"


# The longest prefix of a SQLSTATE that is in the table decides.
BY_SQLSTATE = {
    "08": Outage.AWAY,
    # What a new connection cures: it has lost its transaction or its prepared statements.
    "25": Outage.AWAY,
    "26": Outage.AWAY,
    "0A000": Outage.AWAY,  # "cached plan must not change result type", after a migration
    "42P05": Outage.AWAY,
    "25006": Outage.READ_ONLY,
    "28": Outage.FORBIDDEN,
    "3D": Outage.MISSING,
    "3F": Outage.MISSING,
    "40": Outage.BUSY,
    "42501": Outage.FORBIDDEN,
    "42P01": Outage.UNMIGRATED,
    "42703": Outage.UNMIGRATED,
    "53": Outage.FULL,
    "55": Outage.AWAY,  # "recovery is in progress"
    "55P03": Outage.BUSY,
    "57": Outage.AWAY,
    "57014": Outage.BUSY,
    "58": Outage.DAMAGED,
    "F0": Outage.DAMAGED,
    "XX": Outage.DAMAGED,
}
# By SQLite's primary result code.
BY_SQLITE_CODE = {
    sqlite3.SQLITE_BUSY: Outage.BUSY,
    sqlite3.SQLITE_LOCKED: Outage.BUSY,
    sqlite3.SQLITE_PROTOCOL: Outage.BUSY,
    sqlite3.SQLITE_INTERRUPT: Outage.BUSY,
    sqlite3.SQLITE_SCHEMA: Outage.BUSY,
    sqlite3.SQLITE_READONLY: Outage.READ_ONLY,
    sqlite3.SQLITE_FULL: Outage.FULL,
    sqlite3.SQLITE_NOMEM: Outage.FULL,
    sqlite3.SQLITE_PERM: Outage.FORBIDDEN,
    sqlite3.SQLITE_AUTH: Outage.FORBIDDEN,
    sqlite3.SQLITE_CANTOPEN: Outage.MISSING,
    sqlite3.SQLITE_IOERR: Outage.DAMAGED,
    sqlite3.SQLITE_CORRUPT: Outage.DAMAGED,
    sqlite3.SQLITE_NOTADB: Outage.DAMAGED,
}
# SQLite has one code for all that it cannot compile.
SQLITE_UNMIGRATED = ("no such table", "no such column", "has no column named")


def outage_of(error: BaseException) -> Outage | None:
    """The outage that an error tells of; None if the statement or its data are at fault."""
    if not isinstance(error, (DatabaseError, InterfaceError)):
        return None
    cause = error.__cause__ or error
    if (sqlstate := getattr(cause, "sqlstate", None)) is not None:
        return _by_sqlstate(sqlstate)
    if (code := getattr(cause, "sqlite_errorcode", None)) is not None:
        return _by_sqlite_code(code, str(cause))
    # Without a code no server has answered: the connection failed or is closed.
    return Outage.AWAY if isinstance(error, (OperationalError, InterfaceError)) else None


def is_outage(error: BaseException) -> bool:
    """Whether the same may be asked again with success, when the database is well."""
    return outage_of(error) is not None


def note(error: BaseException) -> None:
    """Log an outage, and close this thread's connection unless the statement alone met it.

    The next one may lead elsewhere: after a switchover the old primary stays reachable.
    """
    outage = outage_of(error)
    if outage is None:
        return
    sqlstate = getattr(error.__cause__, "sqlstate", None)
    extra = {"why": outage.value, "sqlstate": sqlstate}
    # Also in the text, because the formatters of many projects leave out what is extra.
    logger.warning("database away: %s", outage.value, extra=extra)
    if outage is not Outage.BUSY:
        connection.close()


def _by_sqlstate(sqlstate: str) -> Outage | None:
    return BY_SQLSTATE.get(sqlstate) or BY_SQLSTATE.get(sqlstate[:2])


def _by_sqlite_code(code: int, message: str) -> Outage | None:
    if code == sqlite3.SQLITE_ERROR and any(text in message for text in SQLITE_UNMIGRATED):
        return Outage.UNMIGRATED
    return BY_SQLITE_CODE.get(code & 0xFF)
