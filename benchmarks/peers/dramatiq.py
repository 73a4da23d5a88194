"""dramatiq on Redis: each process fetches messages in batches, and its threads run them."""

import os

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

from benchmarks.peers import tally
from benchmarks.peers.programs import play

URL = os.environ["BENCH_REDIS_URL"]
broker = RedisBroker(url=URL)
backend = RedisBackend(url=URL)
broker.add_middleware(Results(backend=backend))
dramatiq.set_broker(broker)


@dramatiq.actor(store_results=True)
def add(numbers: list[int]) -> int:
    result = sum(numbers)
    tally.done(result)
    return result


def _message(n: int) -> dramatiq.Message[int]:
    return add.message([n, 1]).copy(message_id=str(n))


def fill(count: int) -> None:
    for n in range(count):
        broker.enqueue(_message(n))


def kept(count: int) -> int:
    return sum(backend.get_result(_message(n)) for n in range(count))


if __name__ == "__main__":
    play(fill=fill, kept=kept)
