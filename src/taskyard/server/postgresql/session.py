"""What Taskyard relies on in each session of PostgreSQL, whatever a role or database says.

``default_transaction_read_only`` is not here: a server that is read-only on purpose, such as an old
primary after a switchover, stays so. Neither is ``search_path``, which is how a DBA chooses the
schema.
"""

import re
import shlex
from collections.abc import Mapping

# The names and values of PostgreSQL's own documentation.
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
# A worker takes a few rows in the order of an index, whatever is in the table. Statistics are of
# a table that was almost empty, or full of what has ended: by them a claim from a backlog of
# 60,000 sorts all of it (90 ms instead of 2), and an ending walks what is in progress.
FOR_WORKERS = {
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_sort": "off",
    "jit": "off",
}
# What is run without a claim has no lease: a process that vanishes in the middle may not keep its
# rows locked.
IDLE_IN_TRANSACTION_SECONDS = 5.0
# A live server answers a statement that waits before the client gives the server up. What waits
# for another's lock is told so sooner than what works.
STATEMENT_PART, LOCK_PART, LOCK_SECONDS = 0.75, 0.5, 2.0
# By the version that brought it.
SINCE = {"idle_session_timeout": 140000, "transaction_timeout": 170000}

_SETTING = re.compile(r"([A-Za-z_][\w.-]*)=(.*)", re.DOTALL)
_WORD = re.compile(r"(?:-c|--)([A-Za-z_][\w.-]*)=(.*)", re.DOTALL)
USUAL_NAMES = {name.lower(): name for name in ALWAYS}


def relied_upon(*, for_worker: bool, answer_seconds: float | None) -> dict[str, str]:
    """The settings of a session whose server has ``answer_seconds`` to answer; None: for ever."""
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


def given(options: str) -> dict[str, str] | None:
    """The settings in libpq's ``options``; None if there is something else in them."""
    try:
        words = iter(shlex.split(options))
    except ValueError:
        return None
    found: dict[str, str] = {}
    for word in words:
        text = next(words, "") if word == "-c" else word
        setting = _SETTING.fullmatch(text) if word == "-c" else _WORD.fullmatch(text)
        if setting is None:
            return None
        name = setting[1].replace("-", "_")
        found[USUAL_NAMES.get(name.lower(), name)] = setting[2]
    return found


def known_to(settings: Mapping[str, str], server_version: int) -> dict[str, str]:
    return {name: v for name, v in settings.items() if SINCE.get(name, 0) <= server_version}


def milliseconds(seconds: float) -> str:
    """As PostgreSQL shows it."""
    whole = round(seconds * 1000)
    return "0" if not whole else f"{whole // 1000}s" if whole % 1000 == 0 else f"{whole}ms"
