"""The Celery app and its one task, the wake-up message.

Celery starts and replaces the processes and delivers the messages. We use nothing else of it.
"""

import os
import sys
from typing import Any

import django
from celery import Celery
from django.apps import apps
from kombu import Connection, Queue

from taskyard.core.conf import conf
from taskyard.core.task_modules import UnusableModule

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "taskyard.server.settings")
# Other commands of Celery (`inspect`, `status`) write to a terminal.
os.environ.setdefault("TASKYARD_PROCESS", "worker" if "worker" in sys.argv else "command")
if not apps.ready and not apps.loading:
    try:
        django.setup()
    except UnusableModule as error:
        sys.stderr.write(f"taskyard: {error}\n")
        raise SystemExit(2) from None

from taskyard.core import redis_url
from taskyard.core.celery_message import WAKE_UP
from taskyard.core.redis import key
from taskyard.core.wakeup import CELERY
from taskyard.worker import celery_host
from taskyard.worker.queues import served_queues

BROKER_TIMEOUT_SECONDS = 1
RECONNECT_SECONDS = 5


class Broker(Connection):
    """Prefixes Celery's keys, channels and queues with the installation's (``core/redis.py``).

    While the broker is away, it tries again every ``RECONNECT_SECONDS``; Celery's own pauses grow
    to thirty seconds.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Raises BrokerUnavailable when the installation is not known."""
        options = kwargs.pop("transport_options", None) or {}
        kwargs["transport_options"] = {**options, "global_keyprefix": key(CELERY, "")}
        super().__init__(*args, **kwargs)

    def ensure_connection(self, *args: Any, **kwargs: Any) -> Any:
        kwargs.setdefault("interval_max", RECONNECT_SECONDS)
        return super().ensure_connection(*args, **kwargs)


class App(Celery):
    """Uses its own broker, even if the host project names another in ``CELERY_BROKER_URL``.

    Celery itself prefers this variable to the configuration of every app.
    """

    def connection_for_read(self, url: str | None = None, **kwargs: Any) -> Any:
        return super().connection_for_read(url or BROKER_URL, **kwargs)

    def connection_for_write(self, url: str | None = None, **kwargs: Any) -> Any:
        return super().connection_for_write(url or BROKER_URL, **kwargs)


celery_host.remember()
# Without Celery's Django fixup, which closes the database connection before and after each message:
# a new connection costs more than most tasks.
_broker_url = conf().BROKER_URL
broker = redis_url.parse(_broker_url) if _broker_url else None
# Without a broker the worker polls and never connects. Celery's default would be RabbitMQ here, and
# it runs its event loop for transports such as Redis only.
BROKER_URL = broker.celery_url() if broker else "redis://127.0.0.1:1/0"
app = App("taskyard", broker=BROKER_URL, set_as_current=False, fixups=[])
app.conf.update(
    broker_use_ssl=broker.celery_tls() if broker else None,
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    broker_connection_timeout=BROKER_TIMEOUT_SECONDS,
    broker_transport_options={
        **(broker.celery_options() if broker else {}),
        "socket_timeout": BROKER_TIMEOUT_SECONDS,
        "socket_connect_timeout": BROKER_TIMEOUT_SECONDS,
        "retry_on_timeout": False,
        "max_retries": 0,
        # A connection that the broker has dropped silently is noticed after two of these.
        "health_check_interval": 5,
    },
    imports=["taskyard.worker.celery_signals"],
    result_backend=None,
    task_ignore_result=True,
    task_default_queue="default",
    task_queues=[Queue(name) for name in served_queues()],
    task_create_missing_queues=True,
    worker_prefetch_multiplier=1,
    worker_send_task_events=False,
    worker_consumer="taskyard.worker.celery_consumer:WakeUpConsumer",
    # Treat a broker that refuses as one that is away.
    broker_channel_error_retry=True,
    worker_hijack_root_logger=False,
    worker_redirect_stdouts=False,
    timezone="UTC",
)
app.amqp.Connection = Broker


@app.task(name=WAKE_UP, ignore_result=True)
def wake_up(queue: str) -> None:
    """Poll ``queue``, because it has work or had some."""
    from taskyard.worker import consumer

    consumer.consume(queue)
