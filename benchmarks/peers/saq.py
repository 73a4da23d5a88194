"""saq on Redis: one job a round trip, finished in one pipeline; results kept without end."""

import asyncio
import os

import uvloop
from saq import Job, Queue, Worker
from saq.types import Context

from benchmarks.peers import tally
from benchmarks.peers.programs import gate, play

CONCURRENCY = 20
AT_ONCE = 500
queue = Queue.from_url(os.environ["BENCH_REDIS_URL"], name="bench")


async def add(ctx: Context, *, numbers: list[int]) -> int:
    result = sum(numbers)
    tally.done(result)
    return result


async def _fill(count: int) -> None:
    for first in range(0, count, AT_ONCE):
        await asyncio.gather(
            *(
                # Without a time limit there is no timer for each job; ttl=0 keeps the result.
                queue.enqueue(Job("add", {"numbers": [n, 1]}, key=str(n), ttl=0, timeout=0))
                for n in range(first, min(first + AT_ONCE, count))
            )
        )
    # A worker sweeps when it starts, and takes jobs for stuck that were fetched just now and are
    # not marked active yet. The lock of this sweep prevents the next ones.
    await queue.sweep(lock=3600)
    await queue.disconnect()


async def _work() -> None:
    worker = Worker(queue, [add], concurrency=CONCURRENCY)
    await worker.start()


async def _kept(count: int) -> int:
    jobs = await queue.jobs([str(n) for n in range(count)])
    await queue.disconnect()
    return sum(job.result for job in jobs if job is not None)


def work(_: int) -> None:
    gate()
    uvloop.run(_work())


if __name__ == "__main__":
    play(
        fill=lambda count: uvloop.run(_fill(count)),
        work=work,
        kept=lambda count: uvloop.run(_kept(count)),
    )
