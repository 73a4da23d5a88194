"""Remove the secrets of the running task from its messages, its log and the server's log.

A process runs one handler at a time. Its texts have dots in place of each secret of at least four
characters, also as JSON, Python or an address spells it. The result and the checkpoint are the
author's own data, and stay as they are.
"""

import logging
import re
from collections.abc import Iterable

from taskyard.catalog.secrets import DOTS, SHORTEST_SCRUBBED, spellings

_pattern: re.Pattern[str] | None = None
_formatter = logging.Formatter()


def begin(secrets: Iterable[str]) -> None:
    """From now on remove these secrets."""
    global _pattern
    found = {
        spelling
        for secret in secrets
        for spelling in spellings(secret)
        if len(spelling) >= SHORTEST_SCRUBBED
    }
    longest_first = sorted(found, key=lambda text: (-len(text), text))
    _pattern = re.compile("|".join(map(re.escape, longest_first))) if found else None


def end() -> None:
    """The task is over."""
    global _pattern
    _pattern = None


def scrub(text: str) -> str:
    """The text with dots in place of the secrets of the running task."""
    return text if _pattern is None else _pattern.sub(DOTS, text)


def scrub_record(record: logging.LogRecord) -> None:
    """Remove the secrets from a record of the log: its message, its traceback, its extras.

    Extras that are no numbers become texts.
    """
    if _pattern is None:
        return
    try:
        record.msg, record.args = scrub(record.getMessage()), None
    except Exception:  # wrong arguments fail no task, as in logging itself
        record.msg, record.args = scrub(f"{record.msg} {record.args}"), None
    if record.exc_info:
        record.exc_text = scrub(_formatter.formatException(record.exc_info))
        # Our own lines take the traceback from here.
        record.__dict__["traceback"] = record.exc_text
        record.exc_info = None
    for name, value in vars(record).items():
        if not isinstance(value, int | float | None):
            record.__dict__[name] = scrub(_text(value))


def _text(value: object) -> str:
    try:
        return str(value)
    except Exception:  # an object of the author
        return f"<{type(value).__name__}>"
