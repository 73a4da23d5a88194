"""Celery's consumer of wake-up messages, made to need neither the broker nor the database.

Celery's own waits for a broker that is away in one blocking call, and all that time no process is
replaced and none is given work. This one keeps the pool going until it may consume, and it lets go
of the broker while the database is away: what it took then would wake nobody.
"""

import logging
import os
import time
from typing import Any

from celery.exceptions import WorkerLostError
from celery.worker.consumer import Consumer
from celery.worker.state import maybe_shutdown
from kombu.asynchronous.timer import Entry

from taskyard.worker.consumer import poll
from taskyard.worker.watchdog import Watchdog

TICK_SECONDS = 0.5
# Celery is told of a death a moment before it can be seen, and looks again after 5 s.
REPLACE_SECONDS = 0.2
RECONNECT_SECONDS = 2.0
logger = logging.getLogger(__name__)


class CutOff(ConnectionError):
    """The worker must not take messages; for Celery the same as a lost connection."""


class WakeUpConsumer(Consumer):
    hub: Any
    controller: Any

    def __init__(self, *args: Any, **how: Any) -> None:
        # What workers tell each other has no use here, and would hold up this one.
        without = {f"without_{what}": True for what in ("gossip", "heartbeat", "mingle")}
        how["worker_options"] = {**(how.get("worker_options") or {}), **without}
        super().__init__(*args, **how)

    def start(self) -> None:
        """Consume until the worker stops. Whatever else ends it, ends the worker, with a line."""
        self._handed: list[Any] = []
        self._said = ""
        self._connect_at = 0.0
        self.watchdog = Watchdog(self)
        self.watchdog.start()
        try:
            super().start()
        except Exception as error:
            logger.critical("leaving, to be started again: %s", error, exc_info=True)
            os._exit(os.EX_TEMPFAIL)

    def hand(self, queue: str, times: int) -> None:
        """Have so many processes look at a queue, as if a message had come for each.

        Called by the watchdog, from its thread.
        """
        self.hub.call_soon(self._hand, queue, times)

    def connect(self) -> Any:
        """Connect to the broker, once that is of use; until then the pool runs on without."""
        if not self._may_consume():
            self._run_the_pool()
        self._connect_at = time.monotonic() + RECONNECT_SECONDS
        connection = super().connect()
        self._say("")
        return connection

    def ensure_connected(self, conn: Any) -> Any:
        """Once: who waits here holds up the pool."""
        try:
            return conn.connect() and conn
        except Exception as error:  # a refusal is an absence
            raise ConnectionError(str(error)) from error

    def register_with_event_loop(self, hub: Any) -> None:
        super().register_with_event_loop(hub)
        hub.call_repeatedly(REPLACE_SECONDS, self.pool.maintain_pool)
        hub.call_repeatedly(TICK_SECONDS, self._leave_the_broker_when_cut_off)

    def on_connection_error_before_connected(self, exc: Exception) -> None:
        self._say(str(exc))

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        self._say(str(exc))
        super().on_connection_error_after_connected(exc)

    def on_close(self) -> None:
        super().on_close()
        self._handed = []  # Celery throws away what no process has begun

    def _say(self, trouble: str) -> None:
        if trouble and not self._said:
            logger.warning("no messages are taken: %s", trouble)
        if self._said and not trouble:
            logger.info("messages are taken again")
        self._said = trouble

    def _may_consume(self) -> bool:
        ready = time.monotonic() >= self._connect_at
        return ready and self.watchdog.reaches_database and self.watchdog.reaches_broker

    def _leave_the_broker_when_cut_off(self) -> None:
        if not self.watchdog.reaches_database:
            raise CutOff("the database is away")
        if not self.watchdog.reaches_broker:
            raise CutOff("the broker is away")

    def _run_the_pool(self) -> None:
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
        self._handed = [each for each in self._handed if not each.ready()]
        for _ in range(min(times, self.pool.limit - len(self._handed))):
            handed = self.pool.apply_async(poll, (queue,), error_callback=_say_failed)
            if handed is not None:
                self._handed.append(handed)


def _say_failed(error: Any) -> None:
    if not isinstance(error.exception, WorkerLostError):  # the watchdog tells of the dead
        logger.error("a look at a queue failed: %s", error)
