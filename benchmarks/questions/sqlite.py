"""SQLite beside PostgreSQL: the same web, the same worker, another record."""

from benchmarks.figures import Figure, interleaved, per_second, ratio, value
from benchmarks.ground import ground
from benchmarks.yard import yard

CONNECTIONS = 8
DRAINED, SHORT_DRAINED = 50_000, 500


def ask(rounds: int, short: bool) -> list[Figure]:
    seconds = 1 if short else 4
    with ground() as servers, yard(None) as file, yard(servers.postgresql) as server:
        drained = [file.drain(SHORT_DRAINED if short else DRAINED) for _ in range(rounds)]
        for own in () if short else (file, server):
            own.target.create(CONNECTIONS, 1)
        created = interleaved(
            {
                "SQLite": lambda: file.target.create(CONNECTIONS, seconds).per_second,
                "PostgreSQL": lambda: server.target.create(CONNECTIONS, seconds).per_second,
            },
            rounds,
        )
    return [
        ratio(
            "SQLite: create against PostgreSQL",
            0.7,
            ("SQLite", created["SQLite"]),
            ("PostgreSQL", created["PostgreSQL"]),
        ),
        value("SQLite: drain", drained, per_second, at_least=10_000),
    ]
