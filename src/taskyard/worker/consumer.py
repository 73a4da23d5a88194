"""What a process does from a wake-up until it goes back to Celery.

It runs what is ready, then listens for calls as an idle process. A Celery message is needed only
if no process listens.
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
from taskyard.worker import executor, identity, lifespan
from taskyard.worker.executor import fast_types
from taskyard.worker.idle_listener import IdleListener, name
from taskyard.worker.queues import served_queues
from taskyard.worker.wakeup import acknowledge, notify, send_message

SLICE_SECONDS = 1.0
# Where several tasks came at once, more are on their way: each look costs a transaction.
BATCH_DELAY_SECONDS = 0.020
# A connection that has not been used for so long is looked at before it is.
CONNECTION_CHECK_SECONDS = 5.0
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PollResult:
    """What one look at a queue brought: how many tasks have ended, and whether more wait."""

    ended: int
    more: bool = False


NOTHING = PollResult(0)


def consume(queue: str) -> None:
    """A message has come: do what is ready in a queue, then whatever this process is called for."""
    acknowledge(queue)
    if identity.process_table().cut_off:
        notify(queue)
    else:
        poll(queue)


def poll(queue: str) -> None:
    """The same without a message.

    It goes back to Celery after it has sent a message, because it may be the one to get it, and
    if the database does not answer.
    """
    # From now on the parent knows this process, even if it dies while it waits.
    identity.process_table().release()
    identity.state()
    listener = IdleListener(served_queues(), name(identity.worker_id, os.getpid()))
    consumer = Consumer(listener)
    try:
        for called in chain([queue], listener.wakeups()):
            consumer.drain_queue(called)
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
        """Run what is ready in a queue, for ``SLICE_SECONDS``; then leave the rest to others."""
        now = time.monotonic()
        if now - self._worked_at >= CONNECTION_CHECK_SECONDS:
            connection.close_if_unusable_or_obsolete()
        until = now + SLICE_SECONDS
        while not identity.process_table().draining and time.monotonic() < until:
            found = self._poll(queue)
            self._worked_at = time.monotonic()
            if lifespan.lifespan.is_over and found.more:
                break
            if not found.more:
                if found.ended > 1:
                    time.sleep(BATCH_DELAY_SECONDS)
                return
        self._send_message(queue)

    def _poll(self, queue: str) -> PollResult:
        together = self._run_fast_path(queue)
        if together is not None:
            return together
        claimed, more = executor.claim(queue, on_failure=partial(self._give_up, queue))
        if more:
            self._send_message(queue)
        if not claimed:
            return PollResult(0, more)
        # These may take their time, and nobody may wait for it.
        self._listener.release()
        ended = executor.run_claimed(claimed)
        return PollResult(ended, more or ended < len(claimed))

    def _run_fast_path(self, queue: str) -> PollResult | None:
        """Run what is quick in one transaction; None where the next task must be claimed."""
        batch_sizes = fast_types.batch_sizes()
        if batch_sizes is None or identity.process_table().fast_path_paused:
            return None
        try:
            batch_sizes = lifespan.lifespan.fit(batch_sizes)
            run = partial(executor.run_in_transaction, on_claim=self._listener.release)
            seen, ended = lifecycle.run_in_transaction(queue, batch_sizes, run)
        except (DatabaseError, InterfaceError) as error:
            if outage_of(error) not in (None, Outage.BUSY):
                logger.warning("nothing run: %s", error)
                connection.close()
                self._give_up(queue)
                return NOTHING
            # One of them cannot be stored, or waits for a lock on its owner's quota; claimed, each
            # is looked at by itself.
            logger.warning("run again: %s", error)
            fast_types.evict(list(batch_sizes))
            return None
        if seen and not ended:
            return None
        if seen > ended:
            self._send_message(queue)
        return PollResult(ended, more=seen > ended)

    def _send_message(self, queue: str) -> None:
        self.over = True
        send_message(queue)
        # There is enough to do here: what comes to the other queues is for others too.
        self._listener.release()

    def _give_up(self, queue: str) -> None:
        """The database does not answer here: another may do it, and be called from now on."""
        self.over = True
        self._listener.release()
        notify(queue)
