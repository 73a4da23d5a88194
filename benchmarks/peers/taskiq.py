"""taskiq on a Redis stream, whose messages are acknowledged; results kept in Redis."""

import asyncio
import os

import uvloop
from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

from benchmarks.peers import tally
from benchmarks.peers.programs import play

URL = os.environ["BENCH_REDIS_URL"]
AT_ONCE = 20
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
    for first in range(0, count, AT_ONCE):
        numbers = range(first, min(first + AT_ONCE, count))
        await asyncio.gather(*(add.kicker().with_task_id(str(n)).kiq([n, 1]) for n in numbers))
    await broker.shutdown()


async def _kept(count: int) -> int:
    await broker.startup()
    total = 0
    for first in range(0, count, AT_ONCE):
        numbers = range(first, min(first + AT_ONCE, count))
        results = (broker.result_backend.get_result(str(n)) for n in numbers)
        total += sum(result.return_value for result in await asyncio.gather(*results))
    await broker.shutdown()
    return total


if __name__ == "__main__":
    play(
        fill=lambda count: uvloop.run(_fill(count)),
        kept=lambda count: uvloop.run(_kept(count)),
    )
