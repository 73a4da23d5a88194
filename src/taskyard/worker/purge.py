"""The purge: a thread of the worker's parent that deletes expired rows, in batches.

It shares the watchdog's connection to the database and its lock, because no connection may be open
while the parent forks. A batch is as large as can be deleted in ``BATCH_SECONDS``, so that others
wait no longer for a row, or on SQLite for the whole database.
"""

import logging
import threading
import time
from typing import Any

from django.db import DatabaseError, InterfaceError, connections

from taskyard.worker import identity, maintenance

ROUND_SECONDS = 60.0
BATCH_SECONDS = 0.1
# The pause after a batch, as a share of the time that the batch took.
PAUSE_SHARE = 1 / 3
# Batches below the smallest size take no less time, because round trips take most of it.
SMALLEST, LARGEST = 1000, 20_000
logger = logging.getLogger(__name__)


class Purge(threading.Thread):
    def __init__(self, connection: Any, lock: threading.Lock, stopping: threading.Event) -> None:
        super().__init__(name="purge", daemon=True)
        self._connection = connection
        self._lock = lock
        self._stopping = stopping
        self._size = SMALLEST
        self._beyond_id = 0
        # Whether a slow cleanup has left something.
        self._is_left = False
        self._round_at = 0.0

    def run(self) -> None:
        connections["default"] = self._connection
        pause = 0.0
        while not self._stopping.wait(pause):
            try:
                pause = self._step()
            except (DatabaseError, InterfaceError) as error:
                logger.warning("nothing purged: %s", error)
                self._beyond_id, self._is_left = 0, False
                pause = ROUND_SECONDS

    def _step(self) -> float:
        """Begin the next round, or go on with what is left; the pause after it, in seconds."""
        began = time.monotonic()
        begins = began >= self._round_at
        if begins:
            self._round_at = began + ROUND_SECONDS
        if begins or self._beyond_id:
            self._delete_batch()
        if begins or self._is_left:
            self._is_left = maintenance.clean_up(identity.worker_id, self._lock)
        now = time.monotonic()
        if self._beyond_id or self._is_left:
            return (now - began) * PAUSE_SHARE
        return max(self._round_at - now, 0.0)

    def _delete_batch(self) -> None:
        with self._lock:
            began = time.monotonic()
            go_on_at = maintenance.purge(
                identity.worker_id, beyond_id=self._beyond_id, at_most=self._size
            )
            took = time.monotonic() - began
        self._beyond_id = go_on_at or 0
        fitting = self._size * BATCH_SECONDS / max(took, 0.001)
        self._size = int(min(max(fitting, self._size / 2, SMALLEST), self._size * 2, LARGEST))
