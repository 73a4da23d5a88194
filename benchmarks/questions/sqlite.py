"""Compare SQLite with PostgreSQL: the same webs and the same worker on the other database."""

from contextlib import ExitStack
from functools import partial

from benchmarks.figures import Figure, interleaved, milliseconds, per_second, ratio, value
from benchmarks.load import Load
from benchmarks.services import services
from benchmarks.system_under_test import SystemUnderTest, system_under_test

CONNECTIONS = 8
DRAINED, SHORT_DRAINED = 50_000, 500


def ask(rounds: int, short: bool) -> list[Figure]:
    seconds = 1 if short else 4
    with (
        services() as servers,
        system_under_test(None) as file,
        system_under_test(servers.postgresql) as server,
    ):
        drained = [file.drain(SHORT_DRAINED if short else DRAINED) for _ in range(rounds)]
        figures = [
            *_creates("SQLite: create", 0.7, file, server, seconds, rounds),
            value("SQLite: drain", drained, per_second, at_least=10_000),
        ]
    if short:
        return figures
    # As in `taskyard up`.
    with services() as servers, ExitStack() as stack:
        file, server = (
            stack.enter_context(system_under_test(url, webs=1))
            for url in (None, servers.postgresql)
        )
        return [
            *figures,
            *_creates("SQLite, one web: create", None, file, server, seconds, rounds),
        ]


def _creates(
    what: str,
    wanted: float | None,
    file: SystemUnderTest,
    server: SystemUnderTest,
    seconds: int,
    rounds: int,
) -> list[Figure]:
    loads: dict[str, list[Load]] = {"SQLite": [], "PostgreSQL": []}

    def measure(name: str, own: SystemUnderTest) -> float:
        loads[name].append(own.target.create(CONNECTIONS, seconds))
        return loads[name][-1].per_second

    for own in (file, server):
        own.target.create(CONNECTIONS, 1)
    created = interleaved(
        {
            "SQLite": partial(measure, "SQLite", file),
            "PostgreSQL": partial(measure, "PostgreSQL", server),
        },
        rounds,
    )
    return [
        ratio(
            f"{what} against PostgreSQL",
            wanted,
            ("SQLite", created["SQLite"]),
            ("PostgreSQL", created["PostgreSQL"]),
        ),
        value(f"{what} answered within, p99", [each.p99 for each in loads["SQLite"]], milliseconds),
    ]
