"""Log records as JSON lines on stderr: ids, never inputs or tokens."""

import json
import logging
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)

_PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
# What Django and Celery hang on records: objects and bodies that do not belong into a log.
_NEVER = frozenset(
    {"request", "server_time", "status_code", "data", "args", "kwargs", "color_message"}
)


class JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "event": record.getMessage(),
            "pid": record.process,
        }
        if (current := request_id.get()) is not None:
            line["request_id"] = current
        for key, value in vars(record).items():
            if key not in _PLAIN and key not in _NEVER:
                line[key] = value
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def configuration(level: str) -> dict[str, Any]:
    """Django's LOGGING."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": {"()": JsonLines}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {
            # Django's own handlers would mail staff and print to the console in another form.
            "django": {"handlers": [], "level": level, "propagate": True},
            # A 404 is the client's affair.
            "django.request": {"level": "ERROR"},
            "django.server": {"handlers": [], "level": level, "propagate": True},
            "django.db.backends": {"level": "INFO"},
            # With DEBUG it writes what a template was given, cookies among it.
            "django.template": {"level": "INFO"},
            "uvicorn": {"level": "WARNING"},
            # A line a bell says nothing that the tasks' own records do not.
            "celery.worker.strategy": {"level": "WARNING"},
            "celery.app.trace": {"level": "WARNING"},
        },
    }
