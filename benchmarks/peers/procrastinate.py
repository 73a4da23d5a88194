"""procrastinate on PostgreSQL: a job a statement; finished jobs stay, return values do not."""

import os

import uvloop
from procrastinate import App, PsycopgConnector

from benchmarks.peers import tally
from benchmarks.peers.programs import gate, play

CONCURRENCY = 5
AT_ONCE = 1000
app = App(
    connector=PsycopgConnector(conninfo=os.environ["BENCH_POSTGRESQL_URL"], min_size=2, max_size=10)
)


@app.task(name="add")
async def add(numbers: list[int]) -> int:
    result = sum(numbers)
    tally.done(result)
    return result


async def _fill(count: int) -> None:
    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        for first in range(0, count, AT_ONCE):
            await add.batch_defer_async(
                *({"numbers": [n, 1]} for n in range(first, min(first + AT_ONCE, count)))
            )


async def _work() -> None:
    async with app.open_async():
        await app.run_worker_async(concurrency=CONCURRENCY)


def work(_: int) -> None:
    gate()
    uvloop.run(_work())


if __name__ == "__main__":
    play(fill=lambda count: uvloop.run(_fill(count)), work=work)
