"""Runs the system of one tree and measures what `benchmarks.turns` asks for on standard input.

It is started with the other tree first on the import path, so it uses only names that both have.
"""

import statistics
import sys

from benchmarks.figures import until
from benchmarks.questions.end_to_end import rate
from benchmarks.questions.latency import Client
from benchmarks.services import services
from benchmarks.system import COUNT_ACTIVE, books
from benchmarks.system_under_test import SystemUnderTest, system_under_test

CONNECTIONS = 32
DRAINED = 30_000
WAITED = 200


def main() -> None:
    with services() as servers, system_under_test(servers.postgresql) as own:
        print("ready", flush=True)
        for line in sys.stdin:
            print(MEASURES[line.strip()](own), flush=True)


def create(own: SystemUnderTest) -> float:
    _stop_workers(own)
    return own.target.create(CONNECTIONS, 1).per_second


def drain(own: SystemUnderTest) -> float:
    _stop_workers(own)
    return own.drain(DRAINED)


def end_to_end(own: SystemUnderTest) -> float:
    """Tasks completed a second. The rest is worked off before the turn of the other tree."""
    _start_worker(own)
    measured = rate(own.target, own.completed, 1)
    with books(own) as ask:
        until(lambda: not ask(COUNT_ACTIVE)[0][0], 60, "the rest worked off")
    return measured


def latency(own: SystemUnderTest) -> float:
    """The median of seconds from a create to its result."""
    _start_worker(own)
    client = Client(own)
    for _ in range(5):
        client.waited()
    taken = [client.waited() for _ in range(WAITED)]
    client.connection.close()
    return statistics.median(taken)


def _stop_workers(own: SystemUnderTest) -> None:
    while own.workers:
        own.stop_worker()


def _start_worker(own: SystemUnderTest) -> None:
    if own.workers:
        return
    own.start_worker()
    at_first = own.completed()
    own.target.create(CONNECTIONS, 1)
    until(lambda: own.completed() > at_first, 30, "the first task completed")


MEASURES = {"create": create, "drain": drain, "end-to-end": end_to_end, "latency": latency}

if __name__ == "__main__":
    main()
