"""Measure creates over HTTP: Taskyard with its worker stopped, its peers with their workers."""

import statistics
from contextlib import ExitStack
from functools import partial

from benchmarks.figures import Figure, interleaved, milliseconds, ratio, value
from benchmarks.load import Load, Target
from benchmarks.peers.ordinary.served import served
from benchmarks.services import services
from benchmarks.system_under_test import system_under_test

FORMS = {"ordinary": 8.0, "ordinary-kept": 3.0, "celery-per-task": None, "bare": 0.9}
CONNECTIONS = (8, 32)
# For the plot alone; one round of it.
CLIENTS = (1, 2, 4, 16, 64)
SECONDS, PLOT_SECONDS = 3, 2
USERS = 1000


def ask(rounds: int, short: bool) -> list[Figure]:
    seconds = 1 if short else SECONDS
    names = ("ordinary", "bare") if short else tuple(FORMS)
    asked = CONNECTIONS[-1:] if short else CONNECTIONS
    with ExitStack() as stack:
        servers = stack.enter_context(services())
        targets = {}
        for name in names:
            form = stack.enter_context(served(servers, name, users=USERS, worked=False))
            targets[name] = Target(form.port, form.create_path, form.tokens)
        targets["taskyard"] = stack.enter_context(system_under_test(servers.postgresql)).target
        if not short:
            for target in targets.values():
                target.create(8, 1)
        loads = {count: _compare(targets, count, seconds, rounds) for count in asked}
        for count in () if short else CLIENTS:
            loads[count] = _compare(targets, count, PLOT_SECONDS, 1)
    figures = [figure for count in asked for figure in _figures(count, loads[count])]
    return [*figures, _plot(loads)]


def _compare(
    targets: dict[str, Target], connections: int, seconds: int, rounds: int
) -> dict[str, list[Load]]:
    loads: dict[str, list[Load]] = {name: [] for name in targets}

    def measure(name: str) -> float:
        loads[name].append(targets[name].create(connections, seconds))
        return loads[name][-1].per_second

    interleaved({name: partial(measure, name) for name in targets}, rounds)
    return loads


def _figures(connections: int, loads: dict[str, list[Load]]) -> list[Figure]:
    what = f"create over HTTP, {connections} connections"
    rates = {name: [load.per_second for load in each] for name, each in loads.items()}
    ours = loads["taskyard"]
    return [
        *(
            ratio(
                f"{what}, against {name}",
                at_least,
                ("taskyard", rates["taskyard"]),
                (name, rates[name]),
            )
            for name, at_least in FORMS.items()
            if name in rates
        ),
        value(f"{what}, answered within, p50", [load.p50 for load in ours], milliseconds),
        value(f"{what}, answered within, p99", [load.p99 for load in ours], milliseconds),
    ]


def _plot(loads: dict[int, dict[str, list[Load]]]) -> Figure:
    """The points of the plot of throughput against connections."""
    counts = sorted(loads)
    raw: dict[str, list[float]] = {"connections": [float(count) for count in counts]}
    for name in loads[counts[0]]:
        raw[name] = [
            statistics.median(load.per_second for load in loads[count][name]) for count in counts
        ]
    ours = ", ".join(
        f"{count}: {rate:,.0f}/s" for count, rate in zip(counts, raw["taskyard"], strict=True)
    )
    return Figure("create by connections (plot)", "", "", "", f"taskyard {ours}", None, raw)
