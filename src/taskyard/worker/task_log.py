"""Copy a handler's log records and output to its task's log, and mark them in the server's log.

A process runs one handler at a time. A record belongs to the handler if the handler's thread wrote
it, or a thread that started after the handler began. A thread that an earlier task left running may
write data of another owner, so its records belong to no task.
"""

import io
import logging
import sys
import threading
import time
from datetime import timedelta
from typing import TextIO

from taskyard.catalog.encoding import sanitize
from taskyard.core import history
from taskyard.core.types import ClaimedTask, Line
from taskyard.worker.scrubbing import scrub, scrub_record

LEAST_LEVEL = logging.INFO
LINES_A_REPORT = 100
# Records of Taskyard and of its libraries do not belong to the handler. Django's records of a task
# that has failed have its traceback, which owners may not see.
NOT_THE_HANDLERS = (
    "taskyard",
    "celery",
    "kombu",
    "amqp",
    "billiard",
    "django.db",
    "django.tasks",
    "django_tasks",
)


class TaskLog:
    """The log lines of one attempt that are not written to the database yet."""

    def __init__(self, task: ClaimedTask) -> None:
        self.task = task
        self._lines: list[Line] = []
        self._dropped = 0
        self._kept: int | None = None
        self._lock = threading.Lock()

    def add(self, level: str, message: str) -> None:
        """Add a line; lines above ``LINES_A_REPORT`` at a time are only counted."""
        seconds = time.monotonic() - _running.began_at
        at = self.task.claimed_at + timedelta(seconds=seconds)
        message = scrub(message)
        with self._lock:
            if len(self._lines) >= LINES_A_REPORT:
                self._dropped += 1
                return
            self._lines.append(Line(at, sanitize(message)[: history.LINE_LENGTH], level))

    def keep(self) -> None:
        """Write the lines to the database. Raises DatabaseError, InterfaceError."""
        with self._lock:
            lines, self._lines = self._lines, []
            dropped, self._dropped = self._dropped, 0
        if not lines and not dropped:
            return
        try:
            if self._kept is None:
                self._kept = history.lines_kept(self.task.id, logged=True)
            self._kept = history.write_lines(
                self.task.id, self.task.attempt, lines, kept=self._kept, dropped=dropped
            )
        except BaseException:
            with self._lock:
                self._lines, self._dropped = lines + self._lines, self._dropped + dropped
            raise


class Running:
    """The task that this process runs. ``begin`` is cheap, because most handlers log nothing."""

    def __init__(self) -> None:
        self._task: ClaimedTask | None = None
        self._log: TaskLog | None = None
        self._older_threads: frozenset[int | None] = frozenset()
        self.began_at = 0.0
        # Whether the handler printed anything; this is cheaper than a look at each stream.
        self.printed = False

    def begin(self, task: ClaimedTask) -> None:
        """From now on records and output belong to this task."""
        self.began_at = time.monotonic()
        if self._older_threads or threading.active_count() > 1:
            current = threading.get_ident()
            threads = (thread.ident for thread in threading.enumerate())
            self._older_threads = frozenset(ident for ident in threads if ident != current)
        self._task, self._log = task, None

    def end(self) -> TaskLog | None:
        """The log of the task, if it has one. From now on records belong to no task."""
        if self.printed:
            self.printed = False
            for stream in (sys.stdout, sys.stderr):
                if isinstance(stream, Printed):
                    stream.end_line()
        log, self._task, self._log = self._log, None, None
        return log

    @property
    def log(self) -> TaskLog | None:
        """The log of the running task, if this thread belongs to it."""
        if self._task is None or threading.get_ident() in self._older_threads:
            return None
        if self._log is None:
            self._log = TaskLog(self._task)
        return self._log

    def keep(self) -> None:
        """Write the task's lines so far to the database."""
        if self._log is not None:
            self._log.keep()


_running = Running()
begin, end, keep = _running.begin, _running.end, _running.keep


class TaskLogHandler(logging.Handler):
    """Adds the records of a running handler to its task's log."""

    def emit(self, record: logging.LogRecord) -> None:
        log = _running.log
        if log is None or not _is_the_handlers(record.name):
            return
        try:
            message = record.getMessage()
        except Exception:  # wrong arguments fail no task, as in logging itself
            message = f"{record.msg} {record.args}"
        if record.exc_info:
            message = f"{message}\n{logging.Formatter().formatException(record.exc_info)}"
        elif record.exc_text:
            message = f"{message}\n{record.exc_text}"
        log.add(record.levelname, message)


def _is_the_handlers(logger: str) -> bool:
    return logger not in NOT_THE_HANDLERS and not logger.startswith(
        tuple(f"{name}." for name in NOT_THE_HANDLERS)
    )


class TaskFields(logging.Filter):
    """Adds task, task type and attempt to the records of a running handler.

    The secrets of its input are removed from all records that the process writes meanwhile.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        scrub_record(record)
        if log := _running.log:
            for name, value in (
                ("task", log.task.id),
                ("task_type", log.task.task_type),
                ("attempt", log.task.attempt),
            ):
                record.__dict__.setdefault(name, value)
        return True


class Printed(io.TextIOBase):
    """Replaces standard output or error; its lines become records and lines of the task's log."""

    def __init__(self, original: TextIO, name: str, level: int) -> None:
        self._original = original
        self._logger = logging.getLogger(f"taskyard.{name}")
        self._level = level
        self._unfinished = threading.local()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return "utf-8"

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._original.fileno()

    def write(self, text: str) -> int:
        _running.printed = True
        *lines, rest = (getattr(self._unfinished, "text", "") + text).split("\n")
        if len(rest) > history.LINE_LENGTH:  # a secret that is cut would not be found
            rest = scrub(rest)[-history.LINE_LENGTH :]
        self._unfinished.text = rest
        for line in lines:
            self._log(line)
        return len(text)

    def end_line(self) -> None:
        """Log the text after the last end of line."""
        if rest := getattr(self._unfinished, "text", ""):
            self._unfinished.text = ""
            self._log(rest)

    def close(self) -> None:
        """Stay open, because the next task prints too."""

    def _log(self, line: str) -> None:
        if not line.strip():
            return
        if log := _running.log:
            log.add(logging.getLevelName(self._level), line)
        self._logger.log(self._level, "%s", scrub(line)[: history.LINE_LENGTH])


def install() -> None:
    """From now on capture the records and the output of this process."""
    root = logging.getLogger()
    for handler in root.handlers:
        handler.addFilter(TaskFields())
    root.addHandler(TaskLogHandler(LEAST_LEVEL))
    sys.stdout = Printed(sys.stdout, "stdout", logging.INFO)
    sys.stderr = Printed(sys.stderr, "stderr", logging.WARNING)
