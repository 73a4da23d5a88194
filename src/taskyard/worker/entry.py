"""A worker's way in: it has a lease before it starts a process or takes a message."""

import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn, TypeVar

from django.db import Error, connection, connections
from django.db.migrations.executor import MigrationExecutor

from taskyard.core import leases, presence
from taskyard.core.installation import installation_id
from taskyard.core.models import Worker
from taskyard.worker import identity
from taskyard.worker.queues import served_queues

PAUSE_SECONDS = 1.0
REPEAT_SECONDS = 60.0
Answer = TypeVar("Answer")
logger = logging.getLogger(__name__)


def wait_for_database() -> None:
    """Until it has what this version needs. SIGTERM and SIGINT end the wait, and this process."""
    identity.parent_pid = os.getpid()
    identity.dead = presence.forget_dead()
    identity.presence()
    with _leaving_when_told():
        _answered(installation_id)


def register(concurrency: int) -> None:
    """Take a lease, however long that is refused; keep its id where children inherit it."""
    queues = served_queues()
    with _leaving_when_told():
        identity.worker_id = _answered(
            lambda: leases.take(concurrency=concurrency, queues=queues, dead=identity.dead)
        )
    identity.presence().renewed(identity.worker_id)
    identity.process_table()
    connections.close_all()
    logger.info("worker entered", extra={"worker": identity.worker_id})


def leave() -> None:
    """End the lease: what is still held may be taken at once."""
    identity.presence().end()
    try:
        leases.end(identity.worker_id)
        logger.info("worker left", extra={"worker": identity.worker_id})
    except Error as error:
        logger.warning("lease left to run out: %s", error)


def refuse(message: str) -> NoReturn:
    """Leave, with one line, because of how this worker was started."""
    sys.stderr.write(f"taskyard: {message}\n")
    raise SystemExit(2)


def _answered(ask: Callable[[], Answer]) -> Answer:
    """What the database answers, once it does and is migrated; meanwhile one line says why not."""
    said, said_at = "", 0.0
    while True:
        why = "the database is not migrated: run `taskyard migrate`"
        try:
            if _migrated():
                return ask()
        except Error as error:
            why = (str(error).strip().splitlines() or [type(error).__name__])[0]
            connection.close()
        if why != said or time.monotonic() - said_at > REPEAT_SECONDS:
            said, said_at = why, time.monotonic()
            identity.presence().waits(why)
            logger.warning("no lease yet: %s", why)
        time.sleep(PAUSE_SECONDS)


def _migrated() -> bool:
    """Whether the database has all that this version of the record needs."""
    executor = MigrationExecutor(connection)
    wanted = executor.loader.graph.leaf_nodes(Worker._meta.app_label)
    return bool(wanted) and not executor.migration_plan(wanted)


@contextmanager
def _leaving_when_told() -> Iterator[None]:
    def leave(number: int, frame: FrameType | None) -> None:
        identity.presence().end()
        raise SystemExit(0)

    before = {each: signal.signal(each, leave) for each in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
