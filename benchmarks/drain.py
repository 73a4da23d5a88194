"""Measure one worker with a backlog of sums: completed tasks a second, with results and quota.

`python -m benchmarks.drain [--count 50000] [--owners 1000] [--runs 5]`; TEST_DB=postgresql for
PostgreSQL. The time is that from the first end to the last, by the database's clock, so that the
start of the worker does not count.
"""

import argparse
import os
import statistics
import time

from benchmarks.system import books, fill, running
from tests.live_system import Live


def drain(live: Live, count: int, owners: int) -> float:
    """Submit while no worker runs, then start one; tasks a second."""
    live.stop_worker()
    with books(live) as ask:
        last = fill(live, count, owners)
        live.start_worker()
        left = "SELECT count(*) FROM taskyard_task WHERE finished_at IS NULL"
        while ask(left)[0][0]:
            time.sleep(0.1)
        done, first, end = ask(
            "SELECT count(*), min(finished_at), max(finished_at) FROM taskyard_task"
            f" WHERE id > {last} AND status = 'completed'"
        )[0]
        assert done == count, f"{done} of {count} completed"
        wrong = ask(
            "SELECT count(*) FROM taskyard_quota a WHERE active <> (SELECT count(*)"
            " FROM taskyard_task t WHERE t.owner_id = a.user_id AND t.finished_at IS NULL)"
        )
        assert wrong == [(0,)], "the quota is not what it should be"
    return count / seconds_between(first, end)


def seconds_between(first: object, end: object) -> float:
    from datetime import datetime

    moments = [datetime.fromisoformat(str(moment)) for moment in (first, end)]
    return (moments[1] - moments[0]).total_seconds()


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--count", type=int, default=50_000)
    options.add_argument("--owners", type=int, default=1000)
    options.add_argument("--runs", type=int, default=5)
    given = options.parse_args()
    with running() as live:
        rates = [drain(live, given.count, given.owners) for _ in range(given.runs)]
    print(
        f"{os.environ.get('TEST_DB', 'sqlite')}: {given.count} sums of {given.owners} owners: "
        f"{statistics.median(rates):,.0f} completed a second "
        f"({min(rates):,.0f} to {max(rates):,.0f})"
    )


if __name__ == "__main__":
    main()
