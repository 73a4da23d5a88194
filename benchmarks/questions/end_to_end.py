"""Measure tasks that are created and completed a second, under a constant load of creates."""

import time
from collections.abc import Callable
from functools import partial

from benchmarks.figures import Figure, interleaved, ratio
from benchmarks.load import Target
from benchmarks.peers.ordinary.served import served
from benchmarks.peers.stage import Stage
from benchmarks.services import services
from benchmarks.system_under_test import system_under_test

CONNECTIONS = 32
FORMS = {"ordinary": 15.0, "celery-per-task": 4.0}
USERS = 1000


def ask(rounds: int, short: bool) -> list[Figure]:
    seconds = 1 if short else 5
    names = ("celery-per-task",) if short else tuple(FORMS)
    with services() as servers:
        found = interleaved(
            {
                **{name: partial(_of_form, servers, name, seconds) for name in names},
                "taskyard": partial(_of_taskyard, servers, seconds),
            },
            rounds,
        )
    return [
        ratio(
            f"created and completed, {CONNECTIONS} connections, against {name}",
            at_least,
            ("taskyard", found["taskyard"]),
            (name, found[name]),
        )
        for name, at_least in FORMS.items()
        if name in names
    ]


# Each is started only while it is measured, because another idle worker would take CPU.
def _of_form(servers: Stage, name: str, seconds: int) -> float:
    with served(servers, name, users=USERS) as form:
        return _window(Target(form.port, form.create_path, form.tokens), form.completed, seconds)


def _of_taskyard(servers: Stage, seconds: int) -> float:
    with system_under_test(servers.postgresql) as own:
        own.start_worker()
        return _window(own.target, own.completed, seconds)


def _window(target: Target, completed: Callable[[], int], seconds: int) -> float:
    """Count only tasks that completed between the two counts, not those that are still active."""
    at_first = completed()
    target.create(CONNECTIONS, 1)
    deadline = time.monotonic() + 30
    while completed() == at_first:
        if time.monotonic() > deadline:
            raise RuntimeError("nothing was completed")
        time.sleep(0.05)
    return rate(target, completed, seconds)


def rate(target: Target, completed: Callable[[], int], seconds: int) -> float:
    """Tasks completed a second, between two counts, while creates keep coming."""
    before, began = completed(), time.monotonic()
    target.create(CONNECTIONS, seconds)
    return (completed() - before) / (time.monotonic() - began)
