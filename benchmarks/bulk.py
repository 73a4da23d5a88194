"""Measure a bulk of 1,000 sums, from the request to the completion of the last sum.

`python -m benchmarks.bulk`; TEST_DB=postgresql for PostgreSQL. Medians of 7.
"""

import statistics
import time

from benchmarks.system import running
from tests.contract.client import User


def once(user: User, size: int) -> tuple[float, float]:
    """Seconds until the bulk was accepted, and until all of it was completed."""
    tasks = [{"task_type": "sum", "input_data": {"numbers": [n, 1]}} for n in range(size)]
    started = time.perf_counter()
    answer = user.http.post("/tasks/bulk/", json={"tasks": tasks})
    accepted = time.perf_counter() - started
    assert answer.status_code == 201, answer.text
    while user.http.get("/limits/").json()["active"]:
        time.sleep(0.005)
    completed = time.perf_counter() - started
    last = user.task(answer.json()["ids"][-1])
    assert last["result"] == {"result": size}, last
    return accepted, completed


def main() -> None:
    with running() as live:
        user = User.register(live)
        once(user, 1000)
        runs = [once(user, 1000) for _ in range(7)]
        accepted, completed = ([run[n] for run in runs] for n in (0, 1))
        print(
            f"bulk of 1,000 sums: accepted {statistics.median(accepted) * 1000:.0f} ms, "
            f"all completed {statistics.median(completed) * 1000:.0f} ms "
            f"({min(completed) * 1000:.0f}–{max(completed) * 1000:.0f})"
        )
        user.http.close()


if __name__ == "__main__":
    main()
