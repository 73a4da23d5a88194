"""A process's turn at a queue: from the bell until there is nothing more to do.

Whoever has found work looks a little longer before it goes, and holds the bell meanwhile: where
tasks come one after the other, none of them costs a message.
"""

import logging
import time
from dataclasses import dataclass

from django.db import DatabaseError, InterfaceError, OperationalError, connection

from taskyard.core import lifecycle
from taskyard.worker import identity, runner
from taskyard.worker.bell import Bell
from taskyard.worker.runner import pace

SLICE_SECONDS = 1.0
# How long to wait before each further look, 20 ms in all. After a single task the next may follow
# at once; where several came between two looks, those to come are left to gather.
AFTER_ONE = (0.002, 0.003, 0.005, 0.010)
AFTER_SEVERAL = (0.010, 0.010)
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Round:
    """What one look at the queue brought: how many tasks, and whether to look again at once."""

    ended: int
    again: bool = False


NOTHING = Round(0)


def take(queue: str) -> None:
    """Do what is ready in a queue for ``SLICE_SECONDS``; then let other queues have a turn."""
    connection.close_if_unusable_or_obsolete()
    bell = Bell(queue)
    bell.silence()
    until = time.monotonic() + SLICE_SECONDS
    pauses: list[float] | None = None
    while not identity.slots().draining:
        round_ = _run_next(bell)
        if round_.ended:
            if time.monotonic() > until:
                break
            pauses = [*(AFTER_ONE if round_.ended == 1 else AFTER_SEVERAL)]
            if round_.again:
                continue
        if pauses is None or not bell.hold():
            return  # a stale bell, nothing more, or somebody else looks
        if pauses:
            time.sleep(pauses.pop(0))
        else:
            # Silence, then look once more: what came before was not rung for.
            bell.silence()
            pauses = None
    bell.pass_on()


def _run_next(bell: Bell) -> Round:
    together = _run_together(bell)
    if together is not None:
        return together
    claimed, more = runner.claim(bell.queue)
    if not claimed:
        return NOTHING
    # These may take their time, and nobody may wait for it.
    bell.silence()
    if more:
        bell.pass_on()
    runner.run_claimed(claimed)
    return Round(len(claimed), again=True)


def _run_together(bell: Bell) -> Round | None:
    """Run what is quick in one transaction; None where the next task must be claimed."""
    caps = pace.caps()
    if caps is None or identity.slots().careful:
        return None
    try:
        seen, ended = lifecycle.run_locked(bell.queue, caps, runner.run_locked)
    except (OperationalError, InterfaceError) as error:
        logger.warning("nothing run: %s", error)
        connection.close()
        return NOTHING
    except DatabaseError as error:
        # One of them cannot be stored; claimed, each is looked at by itself.
        logger.warning("run again: %s", error)
        pace.distrust(list(caps))
        return None
    if seen and not ended:
        return None
    if seen > ended:
        bell.pass_on()
    return Round(ended, again=seen > ended)
