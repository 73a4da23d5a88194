"""Wake joined workers through the project's own broker, if ``TASKYARD`` names no ``BROKER_URL``.

A wake-up is an empty message to a fanout exchange of ours, so each joined worker gets it and looks
for work. It may be lost, because workers poll as well. No queue, pooled connection or remote
control of the project takes part: a worker that has not joined would log an error for a command
that it does not know.
"""

import logging
import os
import threading
import time
from contextlib import suppress
from typing import Any

from celery import Celery, bootsteps
from celery.concurrency import solo
from django.core.exceptions import ImproperlyConfigured
from kombu import Connection, Consumer, Exchange, Producer, Queue

from taskyard.core import notifications, wakeup
from taskyard.core.conf import conf
from taskyard.core.redis import BrokerUnavailable, CircuitBreaker

EXCHANGE = Exchange("taskyard.wake-up", type="fanout", durable=False, delivery_mode="transient")
# A process sends so often at most; the wake-ups in between are one.
INTERVAL_SECONDS = 0.05
# Then the connection is closed: brokers, proxies and firewalls end idle ones, often silently.
IDLE_SECONDS = 30.0
# A broker that hangs holds the thread that sends for so long, by the names of its transport.
_TIMEOUT_SECONDS = 2.0
_TIMEOUTS = {
    "amqp": ("read_timeout", "write_timeout"),
    "redis": ("socket_timeout", "socket_connect_timeout"),
}
logger = logging.getLogger(__name__)


class Sender(threading.Thread):
    """Sends the wake-ups of this process, so that no request waits for the broker."""

    def __init__(self, app: Celery) -> None:
        super().__init__(name="taskyard wake-ups", daemon=True)
        self._app = app
        self._due = threading.Event()

    def wake(self) -> None:
        """Send a wake-up soon."""
        self._due.set()

    def run(self) -> None:
        breaker = CircuitBreaker()
        while self._due.wait():
            try:
                # A local name: a forked process must not collect, and so close, this connection.
                with breaker.guarding(Exception), self._app.connection_for_write() as connection:
                    if not connection.supports_exchange_type("fanout"):
                        return
                    self._send(connection)
            except BrokerUnavailable:
                self._due.clear()
                time.sleep(INTERVAL_SECONDS)

    def _send(self, connection: Connection) -> None:
        """Send while wake-ups are due, until none was for ``IDLE_SECONDS``."""
        timeouts = _TIMEOUTS.get(connection.transport.driver_type, ())
        options = dict.fromkeys(timeouts, _TIMEOUT_SECONDS)
        connection.transport_options = {**(connection.transport_options or {}), **options}
        # Not the default channel, which waits for a broker without end.
        producer = Producer(connection.channel(), EXCHANGE)
        while self._due.wait(IDLE_SECONDS):
            self._due.clear()
            producer.publish("", serializer="json")
            time.sleep(INTERVAL_SECONDS)


class WakeUpReceiver(bootsteps.ConsumerStep):
    """A step of the consumer of the project's worker: passes wake-ups on to Taskyard's worker."""

    def __init__(self, consumer: Any, **kwargs: Any) -> None:
        super().__init__(consumer, **kwargs)
        self._worker = consumer.controller

    def include_if(self, consumer: Any) -> bool:
        # The main process of this pool runs tasks, and messages would pile up meanwhile.
        is_solo = issubclass(consumer.controller.pool_cls, solo.TaskPool)
        return not is_solo and _is_needed() and consumer.conninfo.supports_exchange_type("fanout")

    def start(self, consumer: Any) -> None:
        try:
            super().start(consumer)
        except consumer.connection.channel_errors as error:
            logger.warning("Taskyard's worker finds new work by polling alone: %s", error)

    def get_consumers(self, channel: Any) -> list[Consumer]:
        """A consumer of a queue that lives as long as this connection."""
        settings = self._worker.app.conf
        queue = Queue(
            f"{self._worker.hostname}.{EXCHANGE.name}",
            EXCHANGE,
            # Like the queues of remote control, because a RabbitMQ may refuse other kinds.
            durable=settings.control_queue_durable,
            exclusive=settings.control_queue_exclusive,
            auto_delete=True,
            max_length=1,
        )
        return [Consumer(channel, [queue], on_message=self._wake, no_ack=True)]

    def _wake(self, message: Any) -> None:
        self._worker.taskyard.wake()


def send_through(app: Celery) -> None:
    """From now on send the wake-ups of this process through the broker of ``app`` too."""
    _apps.append(app)
    notifications.register_queue_notifier(_notify)


_apps: list[Celery] = []
_senders: list[Sender] = []
_starting = threading.Lock()


def _notify(queue: str) -> None:
    if not _is_needed():
        wakeup.notify(queue)
        return
    # If the system refuses a thread, polling finds the work.
    with _starting, suppress(RuntimeError):
        for app in _apps[len(_senders) :]:
            _senders.append(Sender(app))
            _senders[-1].start()
    for sender in _senders:
        sender.wake()


def _is_needed() -> bool:
    """Whether Taskyard has no broker of its own."""
    try:
        return conf().BROKER_URL is None
    except ImproperlyConfigured:
        return False


def _forget_senders() -> None:
    """In a forked process, which has no threads: the next wake-up starts some."""
    global _senders, _starting
    _senders, _starting = [], threading.Lock()


os.register_at_fork(after_in_child=_forget_senders)
