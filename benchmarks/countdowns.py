"""Measure 10,000 sleeping countdowns that fall due within 10 s: their delay, and other tasks.

`python -m benchmarks.countdowns`; TEST_DB=postgresql for PostgreSQL. One worker, two processes.
A countdown sleeps up to 20 times, so 10,000 of them wake about 2,000 times a second.
"""

import statistics
import time
from datetime import datetime

from benchmarks.system import running
from tests.contract.client import User

COUNT = 10_000
LONGEST = 120


def main() -> None:
    with running() as live:
        user = User.register(live)
        ids: list[int] = []
        for first in range(0, COUNT, 1000):
            # Tasks that are accepted later wait for less, so that all end within about 10 s.
            tasks = [
                {
                    "task_type": "countdown",
                    "input_data": {"seconds": LONGEST + (first + n) * 10 // COUNT},
                }
                for n in range(1000)
            ]
            answer = user.http.post("/tasks/bulk/", json={"tasks": tasks})
            assert answer.status_code == 201, answer.text
            ids += answer.json()["ids"]
        latencies = []
        while user.http.get("/limits/").json()["active"]:
            started = time.perf_counter()
            user.wait(user.sum(1, 2))
            latencies.append(time.perf_counter() - started)
            time.sleep(0.5)
        late: list[float] = []
        after = 0
        while len(late) < COUNT:
            page = user.http.get(
                f"/tasks/?after={after}&page_size=100&task_type=countdown&status=completed"
            ).json()["results"]
            for task in page:
                ends = datetime.fromisoformat(task["finished_at"])
                started_at = datetime.fromisoformat(task["started_at"])
                late.append((ends - started_at).total_seconds() - task["input_data"]["seconds"])
            after = page[-1]["id"]
        late.sort()
        print(
            f"10,000 countdowns: late p50 {late[COUNT // 2]:.2f} s, "
            f"p99 {late[COUNT * 99 // 100]:.2f} s, max {late[-1]:.2f} s; "
            f"a sum meanwhile: p50 {statistics.median(latencies) * 1000:.0f} ms, "
            f"max {max(latencies) * 1000:.0f} ms"
        )
        user.http.close()


if __name__ == "__main__":
    main()
