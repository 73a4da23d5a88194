"""Measure how fast a worker purges old tasks, and how long other requests wait meanwhile.

`python -m benchmarks.purge`; TEST_DB=postgresql for PostgreSQL. A tenth of the old tasks has five
lines of log, a past attempt and an idempotency key.
"""

import statistics
import time

from benchmarks.system import books, running
from tests.contract.client import User
from tests.old_tasks import fill

COUNT = 200_000
LEFT = "SELECT max(completed) FROM taskyard_quota"


def main() -> None:
    with running(TASKYARD_RETENTION_DAYS="7") as live, books(live) as ask:
        old, user = User.register(live), User.register(live)
        live.stop_worker()
        fill(live, owner=old.name, count=COUNT)
        live.start_worker()
        user.wait(user.sum(1, 2), seconds=60)

        first = left = int(ask(LEFT)[0][0])
        began = time.perf_counter()
        latencies = []
        while left > COUNT // 100:
            started = time.perf_counter()
            user.wait(user.sum(1, 2), pause=0.005)
            latencies.append(time.perf_counter() - started)
            left = int(ask(LEFT)[0][0])
        seconds = time.perf_counter() - began
        print(
            f"purged {(first - left) / seconds:,.0f} tasks/s; a sum meanwhile: "
            f"p50 {statistics.median(latencies) * 1000:.0f} ms, "
            f"max {max(latencies) * 1000:.0f} ms"
        )


if __name__ == "__main__":
    main()
