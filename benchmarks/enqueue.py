"""Measure submits from a project's own code, in one transaction beside submits of others.

`python -m benchmarks.enqueue`. The project is that of tests/host_project, with Django's own engine,
on PostgreSQL: on SQLite, which has one writer at a time, the others wait for the transaction.

One process submits 10,000 system tasks in one transaction; meanwhile another submits 1,000, of
which every second has an owner. For comparison Django's ORM inserts the same rows, one by one and
together.
"""

import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from typing import Any

import django

from tests import servers

COUNT, OTHERS, FEW = 10_000, 1_000, 2_000
NUMBERS = {"numbers": [1, 2, 3]}


def main() -> None:
    with project():
        from django.db import connections, transaction

        from taskyard import jobs
        from taskyard.core.models import Task

        def orm_row() -> Any:
            return Task(task_type="sum", queue="default", input_data=NUMBERS)

        fork = multiprocessing.get_context("fork")
        ours, theirs = fork.Pipe()
        other = fork.Process(target=submit_beside, args=(theirs,))
        other.start()
        connections.close_all()
        alone = ours.recv()

        def in_one_transaction() -> None:
            with transaction.atomic():
                ours.send("begin")
                for _ in range(COUNT):
                    jobs.submit("sum", NUMBERS)
                beside.append(ours.recv())

        beside: list[list[float]] = []
        rate("jobs.submit in one transaction, beside the others", COUNT, in_one_transaction)
        other.join()
        show("1,000 submits of others alone", alone)
        show("1,000 submits of others beside the transaction", beside[0])

        def submit_each() -> None:
            with transaction.atomic():
                for _ in range(FEW):
                    jobs.submit("sum", NUMBERS)

        def save_each() -> None:
            with transaction.atomic():
                for _ in range(FEW):
                    orm_row().save(force_insert=True)

        def bulk_create() -> None:
            Task.objects.bulk_create([orm_row() for _ in range(FEW)])

        for _ in range(3):
            rate("jobs.submit", FEW, submit_each)
            rate("Model.save of the same row", FEW, save_each)
            rate("jobs.submit_many", FEW, lambda: jobs.submit_many("sum", [NUMBERS] * FEW))
            rate("bulk_create of the same rows", FEW, bulk_create)


def submit_beside(pipe: Connection) -> None:
    """Submit in a process of its own: first alone, then while the transaction is open."""
    from django.contrib.auth import get_user_model

    from taskyard import jobs
    from taskyard.core.models import Quota

    users: Any = get_user_model()
    owner = users.objects.create_user("owner@example.com")
    jobs.submit("sum", NUMBERS, owner=owner)
    Quota.objects.update(active_limit=10 * OTHERS)

    def submit() -> list[float]:
        seconds = []
        for number in range(OTHERS):
            began = time.perf_counter()
            jobs.submit("sum", NUMBERS, owner=owner if number % 2 else None)
            seconds.append(time.perf_counter() - began)
        return seconds

    submit()
    pipe.send(submit())
    pipe.recv()
    pipe.send(submit())


@contextmanager
def project(settings: str = "tests.host_project.settings") -> Iterator[None]:
    """The host project on a new database, with a broker."""
    with ExitStack() as stack:
        home = stack.enter_context(tempfile.TemporaryDirectory(prefix="taskyard-enqueue-"))
        os.environ |= {
            "DJANGO_SETTINGS_MODULE": settings,
            "TASKYARD_HOME": home,
            "REDIS_URL": stack.enter_context(servers.broker()),
        }
        server = stack.enter_context(servers.own_postgresql())
        os.environ["DATABASE_URL"] = stack.enter_context(servers.database(server.url))
        django.setup()
        from django.core.management import call_command
        from django.db import connections

        call_command("migrate", verbosity=0, skip_checks=True)
        connections.close_all()
        yield
        connections.close_all()


def rate(what: str, count: int, run: Callable[[], object]) -> None:
    began = time.perf_counter()
    run()
    print(f"{what}: {count / (time.perf_counter() - began):,.0f}/s", flush=True)


def show(what: str, seconds: list[float]) -> None:
    ordered = sorted(seconds)
    print(
        f"{what}: p50 {statistics.median(ordered) * 1000:.2f} ms, "
        f"p99 {ordered[len(ordered) * 99 // 100] * 1000:.2f} ms, max {ordered[-1] * 1000:.1f} ms"
    )


if __name__ == "__main__":
    main()
