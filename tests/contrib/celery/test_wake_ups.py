"""A host project without a Redis for Taskyard: its own broker wakes the joined workers."""

import os
import socket
import time
from statistics import median

import pytest
import redis
from celery import Celery

from taskyard.contrib.celery.wake_ups import EXCHANGE, INTERVAL_SECONDS, Sender
from tests.contrib.celery.shop_workers import Shop, until
from tests.servers import free_port

NO_BROKER = "tests.contrib.celery.no_broker"


@pytest.mark.servers
def test_they_go_through_the_hosts_broker(shop: Shop) -> None:
    worker = shop.start_worker(DJANGO_SETTINGS_MODULE=NO_BROKER)
    shop.submit(1, DJANGO_SETTINGS_MODULE=NO_BROKER)
    woken = shop.submit(15, DJANGO_SETTINGS_MODULE=NO_BROKER)
    polled = shop.submit(15, joins=0, DJANGO_SETTINGS_MODULE=NO_BROKER)
    assert median(waited for _, waited in woken) < median(waited for _, waited in polled)
    shop.pack(1)
    until(shop.packed)
    worker.terminate()
    assert worker.wait(timeout=60) == 0
    with redis.Redis.from_url(shop.broker, decode_responses=True) as broker:
        assert not [name for name in broker.scan_iter() if "taskyard" in name]


@pytest.mark.servers
def test_no_submit_waits_for_a_broker_that_is_away(shop: Shop) -> None:
    shop.start_worker(DJANGO_SETTINGS_MODULE=NO_BROKER)
    submits = []
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for port in (silent.getsockname()[1], free_port()):
            for scheme in ("redis", "amqp"):
                broker = f"{scheme}://127.0.0.1:{port}"
                submits += shop.submit(3, DJANGO_SETTINGS_MODULE=NO_BROKER, SHOP_BROKER=broker)
    assert len(submits) == 12, "polling found them"
    assert max(took for took, _ in submits) < 1000


def test_many_are_few_messages() -> None:
    url = f"{os.environ['TEST_REDIS_URL'].rstrip('/').rsplit('/', 1)[0]}/7"
    sender = Sender(Celery("many", broker=url, set_as_current=False))
    with redis.Redis.from_url(url) as broker, broker.pubsub(ignore_subscribe_messages=True) as got:
        got.psubscribe(f"*{EXCHANGE.name}*")
        got.get_message(timeout=5)
        sender.start()
        began = time.monotonic()
        while time.monotonic() - began < 1:
            sender.wake()
        messages = 0
        while got.get_message(timeout=1):
            messages += 1
    assert 2 <= messages <= 1 / INTERVAL_SECONDS + 2
