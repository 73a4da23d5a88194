"""Write a running handler's progress, checkpoints and log lines to the database."""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from django.db import DatabaseError, InterfaceError, connection

from taskyard.catalog.run import About, Run
from taskyard.core import history, lifecycle
from taskyard.core.database_errors import Outage, is_outage, outage_of
from taskyard.core.types import AttemptState, ClaimedTask, Line
from taskyard.worker import task_log
from taskyard.worker.handler_database import database, in_a_loop

PAUSE_SECONDS = 1.0
Answer = TypeVar("Answer")
logger = logging.getLogger(__name__)


class Reporter:
    """Writes the reports of a handler's Run, from any of its threads or its event loop.

    On SQLite one connection writes at a time. While the handler's own transaction is open, progress
    and lines are deferred, and a checkpoint is written in that transaction.
    """

    def __init__(self, task: ClaimedTask) -> None:
        self._task = task
        self._progress: str | None = None
        self._lines_kept: int | None = None
        self._last: Future[bool] | None = None
        self._writing = threading.Lock()
        self._is_over = False

    def report(self, run: Run) -> bool:
        """Save progress and lines; whether the handler should stop."""
        deferred = database.holds_the_file()
        if not in_a_loop():
            return database.ask(lambda: self._report(run, deferred=deferred))
        # Do not block the event loop: answer with the result of the report before.
        before = self._last
        if before is None or before.done():
            self._last = database.ask_later(lambda: self._report(run, deferred=deferred))
        return before is not None and before.done() and before.result()

    def keep(self, run: Run, checkpoint: str) -> bool:
        """Write a checkpoint and the log lines before it; whether the attempt is still current."""
        if database.holds_the_file():
            return self._keep(run, checkpoint)

        def keep() -> bool:
            with self._writing:
                if self._is_over:
                    return False
                self._flush_logs(run)
                return self._keep(run, checkpoint)

        return retry_until_database_answers(keep)

    def _keep(self, run: Run, checkpoint: str) -> bool:
        # After a reset the handler begins again, and saves its files again.
        keeps_files = run.has_saved_files and checkpoint != "null"
        return lifecycle.keep_checkpoint(self._task, checkpoint, saved_files=keeps_files)

    def look_up(self) -> About:
        """The fields of the task that a claim does not return."""
        return retry_until_database_answers(lambda: history.about(self._task.id))

    def close(self, run: Run) -> None:
        """Write the last lines of a handler that has ended. Its threads can report no more."""
        with self._writing:
            self._is_over = True
        to_the_end(self._task, lambda: self._flush_logs(run))

    def _report(self, run: Run, *, deferred: bool) -> bool:
        with self._writing:
            if self._is_over:
                return True
            try:
                progress = run.last_progress
                changed = progress if progress != self._progress and not deferred else None
                state = lifecycle.report(self._task, changed)
                if not deferred:
                    self._progress = progress
                    self._flush_logs(run)
                    task_log.keep()
            except (DatabaseError, InterfaceError) as error:
                if not is_outage(error):
                    raise
                logger.warning("report put off: %s", error)
                connection.close()
                return False
            return state is not AttemptState.CURRENT

    def _flush_logs(self, run: Run) -> None:
        lines, dropped = run.take_lines()
        if not lines and not dropped:
            return
        try:
            if self._lines_kept is None:
                self._lines_kept = history.lines_kept(self._task.id)
            self._lines_kept = history.write_lines(
                self._task.id,
                self._task.attempt,
                [Line(at, message) for at, message in lines],
                kept=self._lines_kept,
                dropped=dropped,
            )
        except BaseException:
            run.put_back(lines, dropped)
            raise


def to_the_end(task: ClaimedTask, write: Callable[[], None]) -> None:
    """Write lines, and retry while the database is away. Lines that it refuses are dropped."""
    try:
        retry_until_database_answers(write)
    except DatabaseError as error:
        logger.error("lines refused: %s", error, extra={"task": task.id})


def retry_until_database_answers(
    ask: Callable[[], Answer], *, unless: Outage | None = None
) -> Answer:
    """Call ``ask`` over our connection until the database answers.

    The process must not continue before, because it holds tasks. Raises the database's other
    errors, and ``unless`` if the outage is of this kind.
    """

    def ask_or_close() -> Answer:
        try:
            return ask()
        except (DatabaseError, InterfaceError) as error:
            if outage_of(error) not in (None, unless):
                connection.close()
            raise

    while True:
        try:
            return database.ask(ask_or_close)
        except (DatabaseError, InterfaceError) as error:
            if outage_of(error) in (None, unless):
                raise
            logger.warning("database away: %s", error)
            time.sleep(PAUSE_SECONDS)
