"""Bulk creates over HTTP: bodies of 1,000 sums, every one validated."""

import json

from benchmarks.figures import Figure, per_second, value
from benchmarks.load import Target
from benchmarks.peers.stage import stage
from benchmarks.yard import yard

SIZE = 1000
CONNECTIONS = 4
BULK_PATH = "/api/tasks/bulk/"
BODY = json.dumps(
    {"tasks": [{"task_type": "sum", "input_data": {"numbers": [n, 1]}} for n in range(SIZE)]}
)


def ask(rounds: int, short: bool) -> list[Figure]:
    seconds = 1 if short else 4
    with stage() as ground, yard(ground.postgresql) as own:
        target = Target(own.port, BULK_PATH, own.tokens)
        target.create(CONNECTIONS, 1, BODY)
        rates = [target.create(CONNECTIONS, seconds, BODY).per_second * SIZE for _ in range(rounds)]
    return [value("bulk create over HTTP, tasks", rates, per_second, at_least=30_000)]
