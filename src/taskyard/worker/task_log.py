"""What a handler logs and prints reaches its task's log, and the server's log with its task's id.

A process runs one handler at a time. A record belongs to it if the handler's thread wrote it, or a
thread that was started since the handler began; a thread that an earlier task left behind may say
what is another owner's.
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

LEAST_LEVEL = logging.INFO
LINES_A_REPORT = 100
# Our own records, and those of what carries us, say nothing of the handler's work.
NOT_THE_HANDLERS = ("taskyard", "celery", "kombu", "amqp", "billiard", "django.db")


class TaskLog:
    """The lines of one attempt that are not kept yet."""

    def __init__(self, task: ClaimedTask) -> None:
        self.task = task
        self._lines: list[Line] = []
        self._dropped = 0
        self._kept: int | None = None
        self._saying = threading.Lock()

    def add(self, level: str, message: str) -> None:
        """Take a line; beyond a hundred at a time they are only counted."""
        seconds = time.monotonic() - _running.began_at
        at = self.task.claimed_at + timedelta(seconds=seconds)
        with self._saying:
            if len(self._lines) >= LINES_A_REPORT:
                self._dropped += 1
                return
            self._lines.append(Line(at, sanitize(message)[: history.LINE_LENGTH], level))

    def keep(self) -> None:
        """Write down what there is. Raises DatabaseError, InterfaceError."""
        with self._saying:
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
            with self._saying:
                self._lines, self._dropped = lines + self._lines, self._dropped + dropped
            raise


class Running:
    """What this process runs now. To begin costs next to nothing: most handlers log nothing."""

    def __init__(self) -> None:
        self._task: ClaimedTask | None = None
        self._log: TaskLog | None = None
        self._strangers: frozenset[int | None] = frozenset()
        self.began_at = 0.0
        # Whether anything was printed since the last task ended: to ask each stream costs more.
        self.printed = False

    def begin(self, task: ClaimedTask) -> None:
        """From now on what is logged and printed belongs to this task."""
        self.began_at = time.monotonic()
        if self._strangers or threading.active_count() > 1:
            mine = threading.get_ident()
            self._strangers = frozenset(t.ident for t in threading.enumerate() if t.ident != mine)
        self._task, self._log = task, None

    def end(self) -> TaskLog | None:
        """The log of the task, if it has one; nothing belongs to it any more."""
        if self.printed:
            self.printed = False
            for stream in (sys.stdout, sys.stderr):
                if isinstance(stream, Printed):
                    stream.end_line()
        log, self._task, self._log = self._log, None, None
        return log

    @property
    def log(self) -> TaskLog | None:
        """The log of the task that this thread works for."""
        if self._task is None or threading.get_ident() in self._strangers:
            return None
        if self._log is None:
            self._log = TaskLog(self._task)
        return self._log

    def keep(self) -> None:
        """Write down what the task has logged so far."""
        if self._log is not None:
            self._log.keep()


_running = Running()
begin, end, keep = _running.begin, _running.end, _running.keep


class ToTheTask(logging.Handler):
    """Gives the records of a running handler to its task."""

    def emit(self, record: logging.LogRecord) -> None:
        log = _running.log
        if log is None or record.name.split(".")[0] in NOT_THE_HANDLERS:
            return
        try:
            message = record.getMessage()
        except Exception:  # arguments that do not fit fail no task, as in logging itself
            message = f"{record.msg} {record.args}"
        if record.exc_info:
            message = f"{message}\n{logging.Formatter().formatException(record.exc_info)}"
        log.add(record.levelname, message)


class MarkWithTheTask(logging.Filter):
    """Adds task, task type and attempt to the records of a running handler."""

    def filter(self, record: logging.LogRecord) -> bool:
        if log := _running.log:
            for name, value in (
                ("task", log.task.id),
                ("task_type", log.task.task_type),
                ("attempt", log.task.attempt),
            ):
                record.__dict__.setdefault(name, value)
        return True


class Printed(io.TextIOBase):
    """In the place of standard output or error: each line becomes a record and a task's line."""

    def __init__(self, original: TextIO, name: str, level: int) -> None:
        self._original = original
        self._logger = logging.getLogger(f"taskyard.{name}")
        self._level = level
        self._begun = threading.local()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return "utf-8"

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._original.fileno()

    def write(self, text: str) -> int:
        _running.printed = True
        *lines, rest = (getattr(self._begun, "text", "") + text).split("\n")
        self._begun.text = rest[-history.LINE_LENGTH :]
        for line in lines:
            self._say(line)
        return len(text)

    def end_line(self) -> None:
        """Say what was printed without an end of line."""
        if rest := getattr(self._begun, "text", ""):
            self._begun.text = ""
            self._say(rest)

    def close(self) -> None:
        """Stay open: the next task prints too."""

    def _say(self, line: str) -> None:
        if not line.strip():
            return
        if log := _running.log:
            log.add(logging.getLevelName(self._level), line)
        self._logger.log(self._level, "%s", line[: history.LINE_LENGTH])


def install() -> None:
    """Capture what this process logs and prints from now on."""
    root = logging.getLogger()
    for handler in root.handlers:
        handler.addFilter(MarkWithTheTask())
    root.addHandler(ToTheTask(LEAST_LEVEL))
    sys.stdout = Printed(sys.stdout, "stdout", logging.INFO)
    sys.stderr = Printed(sys.stderr, "stderr", logging.WARNING)
