"""What a running handler says of itself reaches the database at once, from wherever it says it."""

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
    """Carries what a handler tells its Run, from any of its threads, also from an event loop.

    On SQLite one connection writes at a time. While the handler's own transaction is open,
    progress and lines are put off, and a checkpoint is a part of that transaction.
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
        quietly = database.holds_the_file()
        if not in_a_loop():
            return database.ask(lambda: self._report(run, quietly=quietly))
        # The loop does not wait: the answer to the report before is young enough.
        before = self._last
        if before is None or before.done():
            self._last = database.ask_later(lambda: self._report(run, quietly=quietly))
        return before is not None and before.done() and before.result()

    def keep(self, run: Run, checkpoint: str) -> bool:
        """Make a checkpoint durable, with what was said before it; whether it is current."""
        if database.holds_the_file():
            return lifecycle.keep_checkpoint(self._task, checkpoint)

        def keep() -> bool:
            with self._writing:
                if self._is_over:
                    return False
                self._write_down(run)
                return lifecycle.keep_checkpoint(self._task, checkpoint)

        return retry_until_answered(keep)

    def look_up(self) -> About:
        """What the handler asks of its task that no claim brings."""
        return retry_until_answered(lambda: history.about(self._task.id))

    def close(self, run: Run) -> None:
        """The handler has ended: write its last lines; threads that it left behind say no more."""
        with self._writing:
            self._is_over = True
        to_the_end(self._task, lambda: self._write_down(run))

    def _report(self, run: Run, *, quietly: bool) -> bool:
        with self._writing:
            if self._is_over:
                return True
            try:
                progress = run.last_progress
                news = progress if progress != self._progress and not quietly else None
                state = lifecycle.report(self._task, news)
                if not quietly:
                    self._progress = progress
                    self._write_down(run)
                    task_log.keep()
            except (DatabaseError, InterfaceError) as error:
                if not is_outage(error):
                    raise
                logger.warning("report put off: %s", error)
                connection.close()
                return False
            return state is not AttemptState.CURRENT

    def _write_down(self, run: Run) -> None:
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
    """Write lines however long the database is away; what it refuses is left out."""
    try:
        retry_until_answered(write)
    except DatabaseError as error:
        logger.error("lines refused: %s", error, extra={"task": task.id})


def retry_until_answered(ask: Callable[[], Answer], *, unless: Outage | None = None) -> Answer:
    """Ask over our connection until the database answers: nobody goes on while it holds tasks."""

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
