"""Measure a task's latency beside another installation on the same Redis, and alone, alternately.

`python -m benchmarks.neighbours`, on PostgreSQL: two systems, each with a database of its own. A
client of each waits for one sum after another, with a pause between two.
"""

import statistics
from concurrent.futures import ThreadPoolExecutor

from benchmarks.figures import percentile
from benchmarks.questions.latency import PAUSE_SECONDS, Client, some
from benchmarks.services import services
from benchmarks.system_under_test import system_under_test

ROUNDS, TASKS = 5, 200


def main() -> None:
    with (
        services() as servers,
        system_under_test(servers.postgresql, users=1) as first,
        system_under_test(servers.postgresql, users=1, REDIS_URL=first.redis_url) as second,
        ThreadPoolExecutor(2) as pool,
    ):
        clients = []
        for own in (first, second):
            own.start_worker()
            clients.append(Client(own))
        for client in clients:
            some(client.waited, 5, PAUSE_SECONDS)
        medians: dict[str, list[float]] = {"alone": [], "beside": []}
        for _ in range(ROUNDS):
            for kind, asking in (("alone", clients[:1]), ("beside", clients)):
                taken = pool.map(lambda client: some(client.waited, TASKS, PAUSE_SECONDS), asking)
                medians[kind].append(percentile(next(taken), 0.5))
                list(taken)
        for client in clients:
            client.connection.close()
    alone, beside = (statistics.median(each) * 1000 for each in medians.values())
    ratios = [b / a for a, b in zip(*medians.values(), strict=True)]
    print(
        f"`Prefer: wait`, p50: alone {alone:.1f} ms, beside {beside:.1f} ms; "
        f"{statistics.median(ratios):.2f}× ({min(ratios):.2f} to {max(ratios):.2f})"
    )


if __name__ == "__main__":
    main()
