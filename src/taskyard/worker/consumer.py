"""Run ready tasks from a wake-up until the process goes back to Celery.

After the ready tasks the process listens for calls. A Celery message is needed only if no process
listens.
"""

import logging
import os
import time
from dataclasses import dataclass
from functools import partial
from itertools import chain

from django.db import DatabaseError, InterfaceError, connection

from taskyard.core import lifecycle
from taskyard.core.database_errors import Outage, outage_of
from taskyard.core.wakeup import acknowledge, notify, send_message
from taskyard.worker import executor, identity, lifespan
from taskyard.worker.executor import fast_types
from taskyard.worker.idle_listener import IdleListener, name
from taskyard.worker.queues import served_queues

SLICE_SECONDS = 1.0
# After several tasks at once more will come soon; to wait saves transactions.
BATCH_DELAY_SECONDS = 0.020
# A connection that was idle for so long is checked before its next use.
CONNECTION_CHECK_SECONDS = 5.0
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PollResult:
    """The result of polling a queue: how many tasks have ended, and whether more wait."""

    ended: int
    more: bool = False


NOTHING = PollResult(0)


def consume(queue: str) -> None:
    """Handle a wake-up message: run the ready tasks of ``queue``, then listen for calls.

    If the database is away, pass the message on instead.
    """
    acknowledge(queue)
    if identity.process_table().cut_off:
        notify(queue)
    else:
        poll(queue)


def poll(queue: str) -> None:
    """Run the ready tasks of ``queue``, then listen for calls.

    It goes back to Celery after it has sent a message, because this process may be the one that
    Celery gives it to, and if the database does not answer.
    """
    # From now on the parent knows this process, even if it dies while it listens.
    identity.process_table().release()
    identity.state()
    listener = IdleListener(served_queues(), name(identity.worker_id, os.getpid()))
    consumer = Consumer(listener)
    try:
        for next_queue in chain([queue], listener.wakeups()):
            consumer.drain_queue(next_queue)
            if consumer.over or lifespan.lifespan.is_over:
                break
    finally:
        listener.release()


class Consumer:
    def __init__(self, listener: IdleListener) -> None:
        self.over = False
        self._listener = listener
        self._worked_at = -CONNECTION_CHECK_SECONDS

    def drain_queue(self, queue: str) -> None:
        """Run the ready tasks of a queue for ``SLICE_SECONDS``; then wake others for the rest."""
        now = time.monotonic()
        if now - self._worked_at >= CONNECTION_CHECK_SECONDS:
            connection.close_if_unusable_or_obsolete()
        until = now + SLICE_SECONDS
        while not identity.process_table().draining and time.monotonic() < until:
            result = self._poll(queue)
            self._worked_at = time.monotonic()
            if lifespan.lifespan.is_over and result.more:
                break
            if not result.more:
                if result.ended > 1:
                    time.sleep(BATCH_DELAY_SECONDS)
                return
        self._send_message(queue)

    def _poll(self, queue: str) -> PollResult:
        result = self._run_fast_path(queue)
        if result is not None:
            return result
        claimed, more = executor.claim(queue, on_failure=partial(self._give_up, queue))
        if more:
            self._send_message(queue)
        if not claimed:
            return PollResult(0, more)
        # These may take long, and meanwhile calls must go to other processes.
        self._listener.release()
        ended = executor.run_claimed(claimed)
        return PollResult(ended, more or ended < len(claimed))

    def _run_fast_path(self, queue: str) -> PollResult | None:
        """Run quick tasks in one transaction; None if the next task must be claimed."""
        batch_sizes = fast_types.batch_sizes()
        if batch_sizes is None or identity.process_table().fast_path_paused:
            return None
        try:
            batch_sizes = lifespan.lifespan.fit(batch_sizes)
            with lifecycle.lock_ready(queue, batch_sizes) as locked:
                if locked:
                    executor.run_locked(locked, on_claim=self._listener.release)
        except (DatabaseError, InterfaceError) as error:
            if outage_of(error) not in (None, Outage.BUSY):
                logger.warning("nothing run: %s", error)
                connection.close()
                self._give_up(queue)
                return NOTHING
            # The database refuses a task's result, or the quota of its owner is locked. If all are
            # claimed first, only that task fails or waits.
            logger.warning("run again: %s", error)
            fast_types.evict(list(batch_sizes))
            return None
        if locked.seen and not locked.ended:
            return None
        more = locked.seen > locked.ended
        if more:
            self._send_message(queue)
        return PollResult(locked.ended, more)

    def _send_message(self, queue: str) -> None:
        self.over = True
        send_message(queue)
        # This process is busy, so calls for the other queues must go to other processes.
        self._listener.release()

    def _give_up(self, queue: str) -> None:
        """Leave the queue to other processes, because the database does not answer this one."""
        self.over = True
        self._listener.release()
        notify(queue)
