"""Measure `enqueue` of a Django task beside django-tasks-db, and Celery's `delay`, in turns.

`python -m benchmarks.enqueue_peers [--turns 7] [--count 3000]`, on PostgreSQL. All take the same
arguments in the same project, in one process. Celery sends each message to Redis at once; the two
backends insert a row, first all in one transaction, then each in one of its own.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from benchmarks.enqueue import project

OURS, PEER, CELERY = "Taskyard", "django-tasks-db", "Celery"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.enqueue_peers", description=__doc__)
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--count", type=int, default=3_000)
    given = parser.parse_args()
    with project("benchmarks.enqueue_settings"):
        from django.db import transaction

        calls = enqueuers()
        compare("in one transaction", calls, given, transaction.atomic)
        compare("each committed", calls, given, nullcontext)


def enqueuers() -> dict[str, Callable[..., object]]:
    """What enqueues a call of the task, by the name of the library."""
    from celery import Celery

    from benchmarks import enqueue_tasks as tasks
    from taskyard.core.conf import conf

    celery = Celery(broker=conf().BROKER_URL).task(tasks.plain)
    return {OURS: tasks.ours.enqueue, PEER: tasks.peers.enqueue, CELERY: celery.delay}


def compare(
    what: str,
    calls: dict[str, Callable[..., object]],
    given: argparse.Namespace,
    around: Callable[[], AbstractContextManager[Any]],
) -> None:
    """Print the median rate of each, and the median of our ratios to it in the same turn."""
    rates: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(-1, given.turns):  # the first is not counted
        for name, call in calls.items():
            began = time.perf_counter()
            with around():
                for number in range(given.count):
                    call(number, copies=2)
            if turn >= 0:
                rates[name].append(given.count / (time.perf_counter() - began))
    print(f"{given.count:,} calls, {what}, {given.turns} turns")
    for name, measured in rates.items():
        ratio = statistics.median(a / b for a, b in zip(rates[OURS], measured, strict=True))
        rate = statistics.median(measured)
        print(f"  {name}: {rate:,.0f}/s, Taskyard {ratio:.2f} times", flush=True)


if __name__ == "__main__":
    main()
