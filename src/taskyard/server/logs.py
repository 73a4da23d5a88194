"""The log on standard error: JSON lines, or text lines at a terminal.

Lines contain ids, never inputs or tokens. In web and worker everything that is printed, also by
libraries and child processes, becomes such lines too: the descriptors of standard output and error
are pipes to a thread.
"""

import atexit
import json
import logging
import logging.config
import os
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from http import HTTPStatus
from typing import IO, Any, TextIO

import orjson

# The key of a scope and its environ for a dictionary with fields of the request's log line.
REQUEST = "taskyard.request"
request_id: ContextVar[str | None] = ContextVar("request_id", default=None)

_PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
# Attributes that Django and Celery add to records: objects and bodies that must not be logged.
_EXCLUDED = frozenset(
    {"request", "server_time", "status_code", "data", "args", "kwargs", "color_message"}
)
# Some readers treat these characters as the end of a line.
_LINE_ENDS = {ord(sign): f"\\u{ord(sign):04x}" for sign in "\x85\u2028\u2029"}
_LONGEST_LINE = 16_384
# The prefix of the plain line that tells an operator why a command does not start.
_REFUSAL = "taskyard: "
logger = logging.getLogger(__name__)


class Lines(logging.Formatter):
    """Formats each record as one line."""

    def format(self, record: logging.LogRecord) -> str:
        return self.line(record.created, fields(record, traceback=self._traceback(record)))

    def line(self, at: float, values: Mapping[str, Any]) -> str:
        """The line of an event. ``at`` is a Unix time; ``values`` has level, logger and event."""
        raise NotImplementedError

    def _traceback(self, record: logging.LogRecord) -> str | None:
        return self.formatException(record.exc_info) if record.exc_info else None


class JsonLines(Lines):
    """Formats each record as one line of JSON."""

    def line(self, at: float, values: Mapping[str, Any]) -> str:
        timestamp = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
        line = {"at": timestamp, **values}
        try:
            text = orjson.dumps(line, default=str).decode()
        except TypeError:  # cycles, keys that are not text, surrogates, integers above 64 bits
            text = json.dumps({str(name): str(value) for name, value in line.items()})
        return text if text.isascii() else text.translate(_LINE_ENDS)


class TextLines(Lines):
    """Formats records as text: local time, and no characters that control a terminal."""

    def line(self, at: float, values: Mapping[str, Any]) -> str:
        rest = dict(values)
        clock = datetime.fromtimestamp(at).astimezone().strftime("%H:%M:%S")
        level, name, event = (str(rest.pop(key)) for key in ("level", "logger", "event"))
        traceback = str(rest.pop("traceback", "")).splitlines()
        rest.pop("pid", None)
        extra = "".join(f"  {key}={value}" for key, value in rest.items() if value is not None)
        head = f"{clock} {level:8} {name.removeprefix('taskyard.')}: {event}{extra}"
        return "\n".join(printable(line) for line in (head, *traceback))


def printable(text: str) -> str:
    """The text with control and direction characters escaped, except tabs."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\t" else _escaped(c) for c in text)


def _escaped(sign: str) -> str:
    return sign.encode("unicode_escape").decode()


def fields(record: logging.LogRecord, *, traceback: str | None = None) -> dict[str, Any]:
    """The values of a record's line, without the excluded attributes."""
    try:
        event = record.getMessage()
    except Exception:  # the arguments do not fit the message
        event = f"{record.msg} {record.args}"
    line: dict[str, Any] = {
        "level": record.levelname,
        "logger": record.name,
        "event": event,
        "pid": record.process,
    }
    if (current := request_id.get()) is not None:
        line["request_id"] = current
    for key, value in vars(record).items():
        if key not in _PLAIN and key not in _EXCLUDED:
            line[key] = value
    if traceback is not None:
        line["traceback"] = traceback
    return line


class Output(logging.StreamHandler[TextIO]):
    """Writes to standard error. A lock keeps the lines of several threads apart."""

    def write(self, text: str) -> None:
        """Write whole lines."""
        with self.lock or threading.RLock(), suppress(OSError, ValueError):
            self.stream.write(text)
            self.stream.flush()


_is_capturing = False
_lines: Lines = JsonLines()
_output = Output(sys.stderr)
_output.setFormatter(_lines)


def output() -> tuple[Output, Lines]:
    """The handler that writes lines, and the formatter that makes them."""
    return _output, _lines


def configuration(level: str, form: str, *, take_over: bool = False) -> dict[str, Any]:
    """Django's LOGGING. With ``take_over`` everything that is printed becomes lines too."""
    return {
        "version": 1,
        "form": form,
        "take_over": take_over,
        "disable_existing_loggers": False,
        "filters": {"faults": {"()": lambda: _is_no_quota}},
        "handlers": {"stderr": {"()": lambda: _output}},
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {
            # Django's own handlers would mail staff and print to the console in another form.
            "django": {"handlers": [], "level": level, "propagate": True},
            # The request log has all 4xx responses already.
            "django.request": {"level": "ERROR", "filters": ["faults"]},
            "django.server": {"handlers": [], "level": level, "propagate": True},
            "django.db.backends": {"level": "INFO"},
            # At DEBUG it logs the context of templates, which includes cookies.
            "django.template": {"level": "INFO"},
            "uvicorn": {"level": "WARNING"},
            # One line for each wake-up message would only repeat the records of the tasks.
            "celery.worker.strategy": {"level": "WARNING"},
            "celery.app.trace": {"level": "WARNING"},
        },
    }


def _is_no_quota(record: logging.LogRecord) -> bool:
    """Whether a 5xx is more than a user's full quota (507); a full disk has a line of its own."""
    return getattr(record, "status_code", None) != HTTPStatus.INSUFFICIENT_STORAGE


def warn(event: str, *, form: str) -> None:
    """Write a warning before Django has configured the log."""
    if form == "text" or (form == "auto" and sys.stderr.isatty()):
        line = f"taskyard: warning: {event}"
    else:
        values = {"level": "WARNING", "logger": "taskyard.server", "event": event}
        line = JsonLines().line(time.time(), {**values, "pid": os.getpid()})
    sys.stderr.write(f"{line}\n")


def configure(config: dict[str, Any]) -> None:
    """Django's LOGGING_CONFIG. It may be called more than once."""
    global _lines, _is_capturing
    form, take_over = config["form"], config["take_over"]
    as_text = form == "text" or (form == "auto" and _output.stream.isatty())
    _lines = TextLines() if as_text else JsonLines()
    _output.setFormatter(_lines)
    logging.config.dictConfig({key: config[key] for key in config.keys() - {"form", "take_over"}})
    if take_over and not as_text and not _is_capturing:
        _is_capturing = True
        _capture_output()


def _capture_output() -> None:
    """Turn all that is written to standard output and error into lines."""
    stderr_copy = os.dup(sys.__stderr__.fileno() if sys.__stderr__ else 2)
    _output.setStream(os.fdopen(stderr_copy, "w", encoding="utf-8", errors="backslashreplace"))
    logging.captureWarnings(capture=True)
    sys.excepthook = _log_uncaught
    threading.excepthook = _log_uncaught_in_thread
    for number, name, level in ((1, "stdout", logging.INFO), (2, "stderr", logging.WARNING)):
        reading, writing = os.pipe()
        os.dup2(writing, number)
        os.close(writing)
        pipe = os.fdopen(reading, "r", encoding="utf-8", errors="backslashreplace")
        reader = threading.Thread(target=_relay, args=(pipe, name, level), daemon=True)
        reader.start()
        atexit.register(_drain, number, stderr_copy, reader, os.getpid())


def _relay(pipe: IO[str], name: str, level: int) -> None:
    printed = logging.getLogger(f"taskyard.{name}")
    while line := pipe.readline(_LONGEST_LINE):
        if line.startswith(_REFUSAL):
            _output.write(line)
        elif line.strip():
            printed.log(level, "%s", line.rstrip("\n"))


def _drain(number: int, stderr_copy: int, reader: threading.Thread, pid: int) -> None:
    """At exit, wait until the thread has read the last output."""
    if os.getpid() == pid:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError, AttributeError):
                stream.flush()
        os.dup2(stderr_copy, number)
        reader.join(timeout=0.5)


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: Any) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    logger.critical("uncaught exception", exc_info=(kind, error, trace))


def _log_uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is not None and not issubclass(args.exc_type, SystemExit):
        _log_uncaught(args.exc_type, args.exc_value, args.exc_traceback)
