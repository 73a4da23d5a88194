"""The Celery app and its one task, the wake-up message.

Celery starts and replaces the processes and carries the messages. Nothing else of it is used.
"""

import os
import sys
from typing import Any

import django
from celery import Celery
from django.apps import apps
from django.conf import settings
from kombu import Connection, Queue

from taskyard.core.task_modules import UnusableModule

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "taskyard.server.settings")
# Other commands of Celery (`inspect`, `status`) speak to a terminal, as commands do.
os.environ.setdefault("TASKYARD_PROCESS", "worker" if "worker" in sys.argv else "command")
if not apps.ready and not apps.loading:
    try:
        django.setup()
    except UnusableModule as error:
        sys.stderr.write(f"taskyard: {error}\n")
        raise SystemExit(2) from None

from taskyard.core import redis_url
from taskyard.core.redis import key
from taskyard.worker import celery_host
from taskyard.worker.celery_message import WAKE_UP
from taskyard.worker.queues import served_queues
from taskyard.worker.wakeup import CELERY

BROKER_TIMEOUT_SECONDS = 1
RECONNECT_SECONDS = 5


class Broker(Connection):
    """Keeps Celery's keys and channels below our own (``core/redis.py``), queues included.

    It looks for a broker that is away every few seconds; Celery's own pauses grow to thirty.
    """

    def __init__(self, *args: Any, **how: Any) -> None:
        """Raises BrokerUnavailable when the installation is not known."""
        options = how.pop("transport_options", None) or {}
        how["transport_options"] = {**options, "global_keyprefix": key(CELERY, "")}
        super().__init__(*args, **how)

    def ensure_connection(self, *args: Any, **how: Any) -> Any:
        how.setdefault("interval_max", RECONNECT_SECONDS)
        return super().ensure_connection(*args, **how)


celery_host.remember()
# Without Celery's Django fixup: it closes the database's connection before and after each message,
# and a new one costs more than most tasks.
broker = redis_url.parse(settings.REDIS_URL) if settings.REDIS_URL else None
app = Celery(
    "taskyard", broker=broker.celery_url() if broker else None, set_as_current=False, fixups=[]
)
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
        # A broker that forgot our connection without a word is noticed after two of these.
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
    # A broker that refuses is away.
    broker_channel_error_retry=True,
    worker_hijack_root_logger=False,
    worker_redirect_stdouts=False,
    timezone="UTC",
)
app.amqp.Connection = Broker


@app.task(name=WAKE_UP, ignore_result=True)
def wake_up(queue: str) -> None:
    """Queue ``queue`` has work, or had: look, and do what is there."""
    from taskyard.worker import consumer

    consumer.consume(queue)
