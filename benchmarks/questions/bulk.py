"""Measure bulk creates over HTTP: bodies of 1,000 sums, each of them validated."""

import json
from functools import partial

from benchmarks.figures import Figure, interleaved, per_second, value
from benchmarks.load import Target
from benchmarks.services import services
from benchmarks.system_under_test import system_under_test

SIZE = 1000
CONNECTIONS = (2, 4)
BULK_PATH = "/api/tasks/bulk/"
BODY = json.dumps(
    {"tasks": [{"task_type": "sum", "input_data": {"numbers": [n, 1]}} for n in range(SIZE)]}
)


def ask(rounds: int, short: bool) -> list[Figure]:
    seconds = 1 if short else 4
    with services() as servers, system_under_test(servers.postgresql) as own:
        target = Target(own.port, BULK_PATH, own.tokens)

        def rate(connections: int) -> float:
            return target.create(connections, seconds, BODY).per_second * SIZE

        if not short:
            target.create(CONNECTIONS[-1], 1, BODY)
        found = interleaved({str(count): partial(rate, count) for count in CONNECTIONS}, rounds)
    return [
        value(
            f"bulk create over HTTP, {count} connections, tasks",
            found[str(count)],
            per_second,
            at_least=30_000,
        )
        for count in CONNECTIONS
    ]
