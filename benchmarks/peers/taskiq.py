"""taskiq on a Redis stream, whose messages are acknowledged; results kept in Redis."""

import os

import uvloop
from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

from benchmarks.peers import tally
from benchmarks.peers.programs import play

URL = os.environ["BENCH_REDIS_URL"]
broker = RedisStreamBroker(
    URL, xread_count=int(os.environ.get("BENCH_READ", "100"))
).with_result_backend(RedisAsyncResultBackend(URL))


@broker.task(task_name="add")
async def add(numbers: list[int]) -> int:
    result = sum(numbers)
    tally.done(result)
    return result


async def _fill(count: int) -> None:
    await broker.startup()
    for n in range(count):
        await add.kicker().with_task_id(str(n)).kiq([n, 1])
    await broker.shutdown()


async def _kept(count: int) -> int:
    await broker.startup()
    backend = broker.result_backend
    total = sum([(await backend.get_result(str(n))).return_value for n in range(count)])
    await broker.shutdown()
    return total


if __name__ == "__main__":
    play(
        fill=lambda count: uvloop.run(_fill(count)),
        kept=lambda count: uvloop.run(_kept(count)),
    )
