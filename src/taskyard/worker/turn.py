"""A process's turn: what it does from a bell until it goes back to Celery.

Whoever finds nothing more keeps vigil: it waits to be called, and a Celery message is needed only
where nobody does.
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
from taskyard.worker import identity, lifespan, runner
from taskyard.worker.app import served_queues
from taskyard.worker.bell import ring, ring_for_others, silence
from taskyard.worker.runner import pace
from taskyard.worker.vigil import Vigil, name

SLICE_SECONDS = 1.0
# Where several tasks came at once, more are on their way: each look costs a transaction.
GATHER_SECONDS = 0.020
# A connection that has not been used for so long is looked at before it is.
TRUST_SECONDS = 5.0
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Look:
    """What one look at a queue brought: how many tasks have ended, and whether more wait."""

    ended: int
    more: bool = False


NOTHING = Look(0)


def take(queue: str) -> None:
    """A message has come: do what is ready in a queue, then whatever this process is called for."""
    silence(queue)
    if identity.slots().cut_off:
        ring(queue)
    else:
        look(queue)


def look(queue: str) -> None:
    """The same without a message.

    It goes back to Celery after it has rung for others, for it may be the one to hear that, and
    when the database does not answer.
    """
    identity.slots().release()  # the parent knows this process from now on, should it die waiting
    identity.state()
    vigil = Vigil(served_queues(), name(identity.worker_id, os.getpid()))
    turn = Turn(vigil)
    try:
        for called in chain([queue], vigil.bells()):
            turn.work_off(called)
            if turn.over or lifespan.lifespan.is_over:
                break
    finally:
        vigil.release()


class Turn:
    def __init__(self, vigil: Vigil) -> None:
        self.over = False
        self._vigil = vigil
        self._worked_at = -TRUST_SECONDS

    def work_off(self, queue: str) -> None:
        """Do what is ready in a queue, for ``SLICE_SECONDS``; then let others have a turn."""
        now = time.monotonic()
        if now - self._worked_at >= TRUST_SECONDS:
            connection.close_if_unusable_or_obsolete()
        until = now + SLICE_SECONDS
        while not identity.slots().draining and time.monotonic() < until:
            found = self._look(queue)
            self._worked_at = time.monotonic()
            if lifespan.lifespan.is_over and found.more:
                break
            if not found.more:
                if found.ended > 1:
                    time.sleep(GATHER_SECONDS)
                return
        self._ring_for_others(queue)

    def _look(self, queue: str) -> Look:
        together = self._run_together(queue)
        if together is not None:
            return together
        claimed, more = runner.claim(queue, on_failure=partial(self._give_up, queue))
        if more:
            self._ring_for_others(queue)
        if not claimed:
            return Look(0, more)
        # These may take their time, and nobody may wait for it.
        self._vigil.release()
        ended = runner.run_claimed(claimed)
        return Look(ended, more or ended < len(claimed))

    def _run_together(self, queue: str) -> Look | None:
        """Run what is quick in one transaction; None where the next task must be claimed."""
        caps = pace.caps()
        if caps is None or identity.slots().careful:
            return None
        try:
            caps = lifespan.lifespan.fit(caps)
            run = partial(runner.run_locked, on_claim=self._vigil.release)
            seen, ended = lifecycle.run_locked(queue, caps, run)
        except (DatabaseError, InterfaceError) as error:
            if outage_of(error) not in (None, Outage.BUSY):
                logger.warning("nothing run: %s", error)
                connection.close()
                self._give_up(queue)
                return NOTHING
            # One of them cannot be stored, or waits for a lock on its owner's quota; claimed, each
            # is looked at by itself.
            logger.warning("run again: %s", error)
            pace.distrust(list(caps))
            return None
        if seen and not ended:
            return None
        if seen > ended:
            self._ring_for_others(queue)
        return Look(ended, more=seen > ended)

    def _ring_for_others(self, queue: str) -> None:
        self.over = True
        ring_for_others(queue)
        # There is enough to do here: what comes to the other queues is for others too.
        self._vigil.release()

    def _give_up(self, queue: str) -> None:
        """The database does not answer here: another may do it, and be called from now on."""
        self.over = True
        self._vigil.release()
        ring(queue)
