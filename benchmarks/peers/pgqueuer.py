"""pgqueuer on PostgreSQL: jobs fetched and finished in batches; the log keeps no return value."""

import json
import os

import asyncpg
import uvloop
from pgqueuer import AsyncpgDriver, Job, Queries, QueueManager

from benchmarks.peers import tally
from benchmarks.peers.programs import gate, play

URL = os.environ["BENCH_POSTGRESQL_URL"]
BATCH = 500
AT_ONCE = 1000


async def _fill(count: int) -> None:
    connection = await asyncpg.connect(URL)
    queries = Queries(AsyncpgDriver(connection))
    await queries.install()
    await queries.optimize_autovacuum()
    for first in range(0, count, AT_ONCE):
        numbers = range(first, min(first + AT_ONCE, count))
        await queries.enqueue(
            ["add"] * len(numbers),
            [json.dumps({"numbers": [n, 1]}).encode() for n in numbers],
            [0] * len(numbers),
        )
    await connection.close()


async def _work() -> None:
    connection = await asyncpg.connect(URL)
    manager = QueueManager(Queries(AsyncpgDriver(connection)))

    @manager.entrypoint("add")
    async def add(job: Job) -> None:
        assert job.payload is not None
        tally.done(sum(json.loads(job.payload)["numbers"]))

    await manager.run(batch_size=BATCH)


def work(_: int) -> None:
    gate()
    uvloop.run(_work())


if __name__ == "__main__":
    play(fill=lambda count: uvloop.run(_fill(count)), work=work)
