"""The settings that Taskyard makes in each session of PostgreSQL, over those of role and database.

``default_transaction_read_only`` is not among them, because a server that is read-only on purpose,
such as an old primary after a switchover, must stay read-only. Neither is ``search_path``, by which
a DBA chooses the schema.
"""

import re
import shlex
from collections.abc import Mapping

from taskyard.core.sessions import FOR_WORKERS

# Names and values as in PostgreSQL's documentation.
ALWAYS = {
    "default_transaction_isolation": "read committed",
    "default_transaction_deferrable": "off",
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "standard_conforming_strings": "on",
    "transform_null_equals": "off",
    "row_security": "on",
    "idle_session_timeout": "0",
}
# Tasks that run without a claim have no lease: if their process vanishes, this releases its locks.
IDLE_IN_TRANSACTION_SECONDS = 5.0
# Parts of ``answer_seconds``: the server cancels a slow statement before the client gives up the
# connection, and a statement that waits for a lock earlier than one that works.
STATEMENT_PART, LOCK_PART, LOCK_SECONDS = 0.75, 0.5, 2.0
# The server version that added a setting.
SINCE = {"idle_session_timeout": 140000, "transaction_timeout": 170000}

_SETTING = re.compile(r"([A-Za-z_][\w.-]*)=(.*)", re.DOTALL)
_WORD = re.compile(r"(?:-c|--)([A-Za-z_][\w.-]*)=(.*)", re.DOTALL)
CANONICAL_NAMES = {name.lower(): name for name in ALWAYS}


def required_settings(*, for_worker: bool, answer_seconds: float | None) -> dict[str, str]:
    """The settings of a session. Without ``answer_seconds`` statements have no timeout."""
    answer = answer_seconds or 0.0
    idle = IDLE_IN_TRANSACTION_SECONDS if answer_seconds else 0.0
    return {
        **ALWAYS,
        "statement_timeout": milliseconds(answer * STATEMENT_PART),
        "lock_timeout": milliseconds(min(answer * LOCK_PART, LOCK_SECONDS)),
        "idle_in_transaction_session_timeout": milliseconds(idle),
        "transaction_timeout": "0",
        **(FOR_WORKERS if for_worker else {}),
    }


def parse_options(options: str) -> dict[str, str] | None:
    """The settings in libpq's ``options``; None if they contain anything else."""
    try:
        words = iter(shlex.split(options))
    except ValueError:
        return None
    settings: dict[str, str] = {}
    for word in words:
        text = next(words, "") if word == "-c" else word
        setting = _SETTING.fullmatch(text) if word == "-c" else _WORD.fullmatch(text)
        if setting is None:
            return None
        name = setting[1].replace("-", "_")
        settings[CANONICAL_NAMES.get(name.lower(), name)] = setting[2]
    return settings


def supported(settings: Mapping[str, str], server_version: int) -> dict[str, str]:
    """Those settings that this server version knows."""
    return {name: v for name, v in settings.items() if SINCE.get(name, 0) <= server_version}


def milliseconds(seconds: float) -> str:
    """A time as PostgreSQL shows it: "0", "2s" or "1500ms"."""
    whole = round(seconds * 1000)
    return "0" if not whole else f"{whole // 1000}s" if whole % 1000 == 0 else f"{whole}ms"
