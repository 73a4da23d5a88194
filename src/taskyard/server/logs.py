"""What this process writes to standard error: JSON lines, or lines for a person at a terminal.

Ids, never inputs or tokens. In web and worker also what is printed, by whatever library or child
process, becomes such lines: the descriptors of standard output and error lead into a pipe.
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
from typing import IO, Any, TextIO

import orjson

# Where the web keeps, with a request, what its line in the log says of it.
REQUEST = "taskyard.request"
request_id: ContextVar[str | None] = ContextVar("request_id", default=None)

_PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
# What Django and Celery hang on records: objects and bodies that do not belong into a log.
_NEVER = frozenset(
    {"request", "server_time", "status_code", "data", "args", "kwargs", "color_message"}
)
# Some readers take these for the end of a line.
_LINE_ENDS = {ord(sign): f"\\u{ord(sign):04x}" for sign in "\x85\u2028\u2029"}
_LONGEST_LINE = 16_384
# How the line begins that says why a command does not start: it is for the person who typed it.
_REFUSAL = "taskyard: "
logger = logging.getLogger(__name__)


class Lines(logging.Formatter):
    """One line a record."""

    def format(self, record: logging.LogRecord) -> str:
        return self.line(record.created, fields(record, traceback=self._traceback(record)))

    def line(self, at: float, given: Mapping[str, Any]) -> str:
        """The line of an event; ``given`` begins with level, logger and event."""
        raise NotImplementedError

    def _traceback(self, record: logging.LogRecord) -> str | None:
        return self.formatException(record.exc_info) if record.exc_info else None


class JsonLines(Lines):
    """For machines."""

    def line(self, at: float, given: Mapping[str, Any]) -> str:
        moment = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
        line = {"at": moment, **given}
        try:
            text = orjson.dumps(line, default=str).decode()
        except TypeError:  # circles, keys that are no text, surrogates, integers beyond 64 bits
            text = json.dumps({str(name): str(value) for name, value in line.items()})
        return text if text.isascii() else text.translate(_LINE_ENDS)


class TextLines(Lines):
    """For a person: the time of this machine, and nothing that steers a terminal."""

    def line(self, at: float, given: Mapping[str, Any]) -> str:
        rest = dict(given)
        clock = datetime.fromtimestamp(at).astimezone().strftime("%H:%M:%S")
        level, name, event = (str(rest.pop(key)) for key in ("level", "logger", "event"))
        below = str(rest.pop("traceback", "")).splitlines()
        rest.pop("pid", None)
        extra = "".join(f"  {key}={value}" for key, value in rest.items() if value is not None)
        head = f"{clock} {level:8} {name.removeprefix('taskyard.')}: {event}{extra}"
        return "\n".join(printable(line) for line in (head, *below))


def printable(text: str) -> str:
    """The text with control and direction characters escaped; tabs stay."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\t" else _escaped(c) for c in text)


def _escaped(sign: str) -> str:
    return sign.encode("unicode_escape").decode()


def fields(record: logging.LogRecord, *, traceback: str | None = None) -> dict[str, Any]:
    """What a record says, without what does not belong into a log."""
    try:
        event = record.getMessage()
    except Exception:  # whatever the arguments of a record are, it is one line
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
        if key not in _PLAIN and key not in _NEVER:
            line[key] = value
    if traceback is not None:
        line["traceback"] = traceback
    return line


class Output(logging.StreamHandler[TextIO]):
    """Standard error. Whole lines from several threads never mix."""

    def write(self, text: str) -> None:
        """Write finished lines."""
        with self.lock or threading.RLock(), suppress(OSError, ValueError):
            self.stream.write(text)
            self.stream.flush()


_taken_over = False
_lines: Lines = JsonLines()
_output = Output(sys.stderr)
_output.setFormatter(_lines)


def output() -> tuple[Output, Lines]:
    """Where lines go, and how they are written."""
    return _output, _lines


def configuration(level: str, form: str, *, take_over: bool = False) -> dict[str, Any]:
    """Django's LOGGING. ``take_over``: also what is printed becomes lines."""
    return {
        "version": 1,
        "form": form,
        "take_over": take_over,
        "disable_existing_loggers": False,
        "handlers": {"stderr": {"()": lambda: _output}},
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
            # A line for each wake-up message adds nothing to the records of the tasks.
            "celery.worker.strategy": {"level": "WARNING"},
            "celery.app.trace": {"level": "WARNING"},
        },
    }


def warn(event: str, *, form: str) -> None:
    """Write a warning before Django is set up, and its log with it."""
    if form == "text" or (form == "auto" and sys.stderr.isatty()):
        line = f"taskyard: warning: {event}"
    else:
        given = {"level": "WARNING", "logger": "taskyard.server", "event": event}
        line = JsonLines().line(time.time(), {**given, "pid": os.getpid()})
    sys.stderr.write(f"{line}\n")


def configure(given: dict[str, Any]) -> None:
    """Django's LOGGING_CONFIG, which may be called again."""
    global _lines, _taken_over
    form, take_over = given["form"], given["take_over"]
    as_text = form == "text" or (form == "auto" and _output.stream.isatty())
    _lines = TextLines() if as_text else JsonLines()
    _output.setFormatter(_lines)
    logging.config.dictConfig({key: given[key] for key in given.keys() - {"form", "take_over"}})
    if take_over and not as_text and not _taken_over:
        _taken_over = True
        _take_over()


def _take_over() -> None:
    """Let all that is written to standard output and error become lines."""
    kept = os.dup(sys.__stderr__.fileno() if sys.__stderr__ else 2)
    _output.setStream(os.fdopen(kept, "w", encoding="utf-8", errors="backslashreplace"))
    logging.captureWarnings(capture=True)
    sys.excepthook = _uncaught
    threading.excepthook = _uncaught_in_thread
    for number, name, level in ((1, "stdout", logging.INFO), (2, "stderr", logging.WARNING)):
        reading, writing = os.pipe()
        os.dup2(writing, number)
        os.close(writing)
        pipe = os.fdopen(reading, "r", encoding="utf-8", errors="backslashreplace")
        reader = threading.Thread(target=_relay, args=(pipe, name, level), daemon=True)
        reader.start()
        atexit.register(_drain, number, kept, reader, os.getpid())


def _relay(pipe: IO[str], name: str, level: int) -> None:
    printed = logging.getLogger(f"taskyard.{name}")
    while line := pipe.readline(_LONGEST_LINE):
        if line.startswith(_REFUSAL):
            _output.write(line)
        elif line.strip():
            printed.log(level, "%s", line.rstrip("\n"))


def _drain(number: int, kept: int, reader: threading.Thread, pid: int) -> None:
    """At the end, wait for what was printed last."""
    if os.getpid() == pid:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError, AttributeError):
                stream.flush()
        os.dup2(kept, number)
        reader.join(timeout=0.5)


def _uncaught(kind: type[BaseException], error: BaseException, trace: Any) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    logger.critical("uncaught exception", exc_info=(kind, error, trace))


def _uncaught_in_thread(given: threading.ExceptHookArgs) -> None:
    if given.exc_value is not None and not issubclass(given.exc_type, SystemExit):
        _uncaught(given.exc_type, given.exc_value, given.exc_traceback)
