"""Celery's consumer of wake-up messages, changed to survive without broker and database.

Celery's own consumer waits for a broker that is away in one blocking call. Meanwhile it replaces no
process and gives none work. This consumer runs the pool until it can consume. It also leaves the
broker while the database is away, because no process could act on a message then.
"""

import logging
import os
import time
import warnings
from typing import Any

from celery.exceptions import CPendingDeprecationWarning, WorkerLostError
from celery.worker.consumer import Consumer
from celery.worker.state import maybe_shutdown
from kombu.asynchronous.timer import Entry

from taskyard.worker.consumer import poll
from taskyard.worker.watchdog import Watchdog

TICK_SECONDS = 0.5
# Celery learns of a death a moment before it can reap the process, and looks again only after 5 s.
REPLACE_SECONDS = 0.2
RECONNECT_SECONDS = 2.0
logger = logging.getLogger(__name__)


class CutOff(ConnectionError):
    """The worker must not take messages. Celery handles it like a lost connection."""


class WakeUpConsumer(Consumer):
    hub: Any
    controller: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # We do not use the events that workers send each other, and they would delay this worker.
        without = {f"without_{name}": True for name in ("gossip", "heartbeat", "mingle")}
        kwargs["worker_options"] = {**(kwargs.get("worker_options") or {}), **without}
        super().__init__(*args, **kwargs)

    def start(self) -> None:
        """Consume until the worker stops. On any other end log one line and exit."""
        self._polls: list[Any] = []
        self._logged = ""
        self._connect_at = 0.0
        self.watchdog = Watchdog(self)
        self.watchdog.start()
        try:
            super().start()
        except Exception as error:
            logger.critical("leaving, to be started again: %s", error, exc_info=True)
            os._exit(os.EX_TEMPFAIL)

    def hand(self, queue: str, times: int) -> None:
        """Let so many processes poll a queue, as if each had received a message.

        The watchdog calls this from its thread.
        """
        self.hub.call_soon(self._hand, queue, times)

    def connect(self) -> Any:
        """Run the pool until broker and database can be reached; then connect to the broker."""
        if not self._may_consume():
            self._run_pool()
        self._connect_at = time.monotonic() + RECONNECT_SECONDS
        connection = super().connect()
        self._log_state("")
        return connection

    def ensure_connected(self, conn: Any) -> Any:
        """Try to connect once, because the pool does not run meanwhile."""
        try:
            return conn.connect() and conn
        except Exception as error:  # an error of the broker is treated as an outage
            raise ConnectionError(str(error)) from error

    def register_with_event_loop(self, hub: Any) -> None:
        super().register_with_event_loop(hub)
        hub.call_repeatedly(REPLACE_SECONDS, self.pool.maintain_pool)
        hub.call_repeatedly(TICK_SECONDS, self._disconnect_if_cut_off)

    def on_connection_error_before_connected(self, exc: Exception) -> None:
        self._log_state(str(exc))

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        self._log_state(str(exc))
        with warnings.catch_warnings():
            # Of what Celery 6 will do with tasks that run meanwhile; wake-ups may be lost.
            warnings.simplefilter("ignore", CPendingDeprecationWarning)
            super().on_connection_error_after_connected(exc)

    def on_close(self) -> None:
        super().on_close()
        self._polls = []  # Celery discards those that no process has begun

    def _log_state(self, problem: str) -> None:
        """Log a change between taking messages, with no ``problem``, and not taking them."""
        if problem and not self._logged:
            logger.warning("no messages are taken: %s", problem)
        if self._logged and not problem:
            logger.info("messages are taken again")
        self._logged = problem

    def _may_consume(self) -> bool:
        ready = time.monotonic() >= self._connect_at
        return ready and self.watchdog.reaches_database and self.watchdog.reaches_broker

    def _disconnect_if_cut_off(self) -> None:
        if not self.watchdog.reaches_database:
            raise CutOff("the database is away")
        if not self.watchdog.reaches_broker:
            raise CutOff("the broker is away")

    def _run_pool(self) -> None:
        """Run the pool's event loop until the worker may consume."""
        before = self._timers()
        self.controller.register_with_event_loop(self.hub)
        self.hub.call_repeatedly(REPLACE_SECONDS, self.pool.maintain_pool)
        self.hub.call_repeatedly(TICK_SECONDS, maybe_shutdown)
        try:
            loop = self.hub.create_loop()
            while not self._may_consume():
                maybe_shutdown()
                if next(loop, self) is self:
                    loop = self.hub.create_loop()
        finally:
            self.hub.reset()
            for entry in self._timers() - before:
                self.hub.timer.cancel(entry)

    def _timers(self) -> set[Entry]:
        return {scheduled.entry for scheduled in self.hub.timer.queue}

    def _hand(self, queue: str, times: int) -> None:
        self._polls = [result for result in self._polls if not result.ready()]
        for _ in range(min(times, self.pool.limit - len(self._polls))):
            result = self.pool.apply_async(poll, (queue,), error_callback=_log_failure)
            if result is not None:
                self._polls.append(result)


def _log_failure(error: Any) -> None:
    if not isinstance(error.exception, WorkerLostError):  # the watchdog logs dead processes
        logger.error("a look at a queue failed: %s", error)
