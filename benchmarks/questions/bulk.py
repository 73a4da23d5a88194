"""Bulk creates over HTTP: bodies of 1,000 sums, every one validated."""

import json

from benchmarks.figures import Figure, per_second, value
from benchmarks.ground import ground
from benchmarks.load import Target
from benchmarks.yard import yard

SIZE = 1000
CONNECTIONS = 4
BULK_PATH = "/api/tasks/bulk/"
BODY = json.dumps(
    {"tasks": [{"task_type": "sum", "input_data": {"numbers": [n, 1]}} for n in range(SIZE)]}
)


def ask(rounds: int, short: bool) -> list[Figure]:
    seconds = 1 if short else 4
    with ground() as servers, yard(servers.postgresql) as own:
        target = Target(own.port, BULK_PATH, own.tokens)
        if not short:
            target.create(CONNECTIONS, 1, BODY)
        rates = [target.create(CONNECTIONS, seconds, BODY).per_second * SIZE for _ in range(rounds)]
    return [value("bulk create over HTTP, tasks", rates, per_second, at_least=30_000)]
