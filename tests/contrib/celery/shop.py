"""The Celery app of a host project whose workers carry a worker of Taskyard (`SHOP_JOINS`)."""

import os
import time

import redis
from celery import Celery

from taskyard.contrib.celery import join

BROKER = os.environ["SHOP_BROKER"]
app = Celery("shop", broker=BROKER)
app.conf.update(
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,
    broker_transport_options={"visibility_timeout": 5},
    broker_connection_retry_on_startup=True,
)
if concurrency := int(os.environ.get("SHOP_JOINS", "0")):
    join(app, ["default"], concurrency=concurrency)

_results = redis.Redis.from_url(os.environ["SHOP_RESULTS"])


@app.task(name="shop.pack")
def pack(number: int, sent_at: float, seconds: float = 0) -> None:
    """Note how many milliseconds after its submit the task began."""
    _results.rpush("began", number)
    waited = time.time() - sent_at
    time.sleep(seconds)
    _results.hset("packed", str(number), str(waited * 1000))
