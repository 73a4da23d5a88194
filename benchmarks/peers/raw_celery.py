"""Celery's own messages only, without database and result: the cost of a message."""

import os

from celery import Celery

from benchmarks.peers import tally
from benchmarks.peers.programs import play

app = Celery("raw", broker=os.environ["BENCH_REDIS_URL"], set_as_current=False)
app.conf.update(
    task_ignore_result=True,
    worker_disable_rate_limits=True,
    worker_hijack_root_logger=False,
)


@app.task(name="add")
def add(numbers: list[int]) -> int:
    result = sum(numbers)
    tally.done(result)
    return result


def fill(count: int) -> None:
    with app.producer_pool.acquire(block=True) as producer:
        for n in range(count):
            add.apply_async(([n, 1],), producer=producer)


if __name__ == "__main__":
    play(fill=fill)
