"""The guard: a thread of the worker's parent that keeps the lease and watches its processes."""

import logging
import os
import signal
import threading
import time
from typing import Any

from django.db import DatabaseError, InterfaceError, connections

from taskyard.core import leases, lifecycle
from taskyard.core.models import Task
from taskyard.worker import identity, upkeep
from taskyard.worker.app import served_queues
from taskyard.worker.bell import ring

TICK_SECONDS = 0.1
SWEEP_SECONDS = 1.0
PURGE_SECONDS = 60.0
DEAF_SECONDS = 60.0
logger = logging.getLogger(__name__)


class Guard(threading.Thread):
    """Beats the worker's lease, takes tasks from processes that died, and carries the upkeep.

    No connection to the database is open while the parent forks: a fork waits for the tick that
    is under way and closes the guard's connection first.
    """

    def __init__(self, pool: Any) -> None:
        super().__init__(name="guard", daemon=True)
        self._pool = pool
        self._stopping = threading.Event()
        self._database = threading.Lock()
        self._connection: Any = None
        self._swept_at = self._purged_at = 0.0
        self.heard_at = time.monotonic()
        os.register_at_fork(
            before=self._before_fork,
            after_in_parent=self._database.release,
            after_in_child=self._database.release,
        )

    def run(self) -> None:
        self._connection = connections["default"]
        self._connection.inc_thread_sharing()
        while not self._stopping.wait(TICK_SECONDS):
            try:
                with self._database:
                    queues = self._tick()
            except (DatabaseError, InterfaceError) as error:
                logger.warning("database away: %s", error)
                self._drop_connection()
                self._stopping.wait(SWEEP_SECONDS)
                continue
            for queue in queues:
                ring(queue)

    def stop(self) -> None:
        """Stop watching and end the lease."""
        self._stopping.set()
        self.join()
        leave()

    def _tick(self) -> set[str]:
        queues = upkeep.wake()
        if time.monotonic() - self._swept_at >= SWEEP_SECONDS:
            self._swept_at = time.monotonic()
            self._beat()
            queues |= lifecycle.rescue(
                Task.objects.dropped_by(identity.worker_id, self._pool.info["processes"])
            )
            queues |= upkeep.sweep(identity.worker_id)
            self._leave_if_deaf()
        if time.monotonic() - self._purged_at >= PURGE_SECONDS:
            self._purged_at = time.monotonic()
            upkeep.purge(identity.worker_id)
        return queues

    def _beat(self) -> None:
        if leases.renew(identity.worker_id):
            return
        logger.error("lease ran out: its tasks are stopped", extra={"worker": identity.worker_id})
        stale = self._pool.info["processes"]
        enter(self._pool.limit)
        for pid in stale:
            os.kill(pid, signal.SIGKILL)

    def _leave_if_deaf(self) -> None:
        """Celery has stopped consuming after a reconnect in several versions (celery#8030)."""
        queues = served_queues()
        waits = Task.objects.ready_in(queues).exists()
        works = Task.objects.filter(worker=identity.worker_id).exists()
        if works or not waits:
            self.heard_at = time.monotonic()
        elif time.monotonic() - self.heard_at > DEAF_SECONDS:
            logger.critical("work waits and no bell is heard: leaving, to be started again")
            os._exit(os.EX_TEMPFAIL)

    def _before_fork(self) -> None:
        self._database.acquire()
        self._drop_connection()

    def _drop_connection(self) -> None:
        if self._connection is not None:
            self._connection.close()


def enter(concurrency: int) -> None:
    """Take a lease for this process and keep its number where children inherit it."""
    identity.worker_id = leases.take(concurrency=concurrency, queues=served_queues())
    logger.info("worker entered", extra={"worker": identity.worker_id})


def leave() -> None:
    """End the lease: what is still held may be taken at once."""
    try:
        leases.end(identity.worker_id)
        logger.info("worker left", extra={"worker": identity.worker_id})
    except (DatabaseError, InterfaceError) as error:
        logger.warning("lease left to run out: %s", error)
