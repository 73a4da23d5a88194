"""Serialize the attempts and the log lines of a task."""

from typing import Any

from taskyard.api.serialize import isoformat_utc
from taskyard.core import messages
from taskyard.core.conf import conf
from taskyard.core.history import PastAttempt
from taskyard.core.models import LogLine


def serialize_attempt(attempt: PastAttempt) -> dict[str, Any]:
    code, message = attempt.error_code, messages.of_failure(attempt.error_message)
    return {
        "number": attempt.number,
        "outcome": attempt.outcome,
        "started_at": isoformat_utc(attempt.started_at),
        "ended_at": isoformat_utc(attempt.ended_at),
        "error": {"code": code, "message": message} if code else None,
        "traceback": (conf().SHOW_TRACEBACKS and attempt.traceback) or None,
    }


def serialize_line(line: LogLine) -> dict[str, Any]:
    return {
        "at": isoformat_utc(line.at),
        "attempt": line.attempt,
        "level": line.level or None,
        "message": line.message,
        "dropped": line.dropped,
    }
