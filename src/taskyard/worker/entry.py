"""Start and end of a worker: it takes a lease before it starts a process or takes a message."""

import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn, TypeVar

from django.apps import apps
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
    """Wait until the database answers and is migrated. SIGTERM and SIGINT end the process."""
    identity.parent_pid = os.getpid()
    identity.dead = presence.forget_dead()
    identity.presence()
    with _exit_on_signals():
        _retry_until_answered(installation_id)


def register(concurrency: int) -> None:
    """Take a lease, and retry until the database grants it. Children inherit its id."""
    queues = served_queues()
    with _exit_on_signals():
        identity.worker_id = _retry_until_answered(
            lambda: leases.take(concurrency=concurrency, queues=queues, dead=identity.dead)
        )
    identity.presence().renewed(identity.worker_id)
    identity.process_table()
    connections.close_all()
    logger.info("worker entered", extra={"worker": identity.worker_id})


def deregister() -> None:
    """End the lease, so that other workers can take the tasks that are still held at once."""
    identity.presence().end()
    try:
        leases.end(identity.worker_id)
        logger.info("worker left", extra={"worker": identity.worker_id})
    except Error as error:
        logger.warning("lease left to run out: %s", error)


def refuse(message: str) -> NoReturn:
    """Exit with one line, because the worker was started in a way that cannot work."""
    sys.stderr.write(f"taskyard: {message}\n")
    raise SystemExit(2)


def _retry_until_answered(ask: Callable[[], Answer]) -> Answer:
    """Call ``ask`` when the database is migrated, and return its answer.

    Until then log the reason: when it changes, and every ``REPEAT_SECONDS``.
    """
    logged, logged_at = "", 0.0
    while True:
        why = f"the database is not migrated: run `{_migrate_command()}`"
        try:
            if _migrated():
                return ask()
        except Error as error:
            why = (str(error).strip().splitlines() or [type(error).__name__])[0]
            connection.close()
        if why != logged or time.monotonic() - logged_at > REPEAT_SECONDS:
            logged, logged_at = why, time.monotonic()
            identity.presence().waits(why)
            logger.warning("no lease yet: %s", why)
        time.sleep(PAUSE_SECONDS)


def _migrate_command() -> str:
    own = apps.is_installed("taskyard.server")
    return "taskyard migrate" if own else "python manage.py migrate"


def _migrated() -> bool:
    """Whether the database has all migrations of ``core`` in this version."""
    executor = MigrationExecutor(connection)
    latest = executor.loader.graph.leaf_nodes(Worker._meta.app_label)
    return bool(latest) and not executor.migration_plan(latest)


@contextmanager
def _exit_on_signals() -> Iterator[None]:
    def leave(number: int, frame: FrameType | None) -> None:
        identity.presence().end()
        raise SystemExit(0)

    before = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
