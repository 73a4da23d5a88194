"""The servers that peers run on: our own, with the durability of the project's tests."""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg
import redis

from taskyard.server import child_process
from taskyard.server.valkey import Valkey
from tests import servers
from tests.live_system import clean_environment


@dataclass(frozen=True)
class Stage:
    """The addresses of PostgreSQL and Redis, and a directory for files."""

    postgresql: str
    redis: str
    directory: Path

    def environment(self) -> dict[str, str]:
        """The environment of a peer's programs."""
        return {
            **clean_environment(),
            "BENCH_POSTGRESQL_URL": self.postgresql,
            "BENCH_REDIS_URL": self.redis,
            "BENCH_TALLIES": str(self.directory),
            "PYTHONPATH": str(servers.ROOT),
        }


@contextmanager
def stage() -> Iterator[Stage]:
    """A PostgreSQL with its default durability, and a Valkey with an append-only file.

    The file is synced once a second. This is Redis' default, and all Redis queues advise it: a
    power cut loses a second of work, while PostgreSQL loses none.
    """
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="taskyard-peers-")))
        server = stack.enter_context(servers.own_postgresql(max_connections=100))
        valkey = Valkey(directory / "valkey")
        process = valkey.start(clean_environment())
        stack.callback(child_process.stop, [process], seconds=5)
        valkey.wait(process)
        yield Stage(server.url, valkey.url, directory)


@contextmanager
def fresh(stage: Stage) -> Iterator[Stage]:
    """The same servers with a new database, an empty Redis and a directory of its own."""
    with (
        servers.database(stage.postgresql) as url,
        redis.Redis.from_url(stage.redis) as client,
        tempfile.TemporaryDirectory(dir=stage.directory, prefix="played-") as directory,
    ):
        client.flushall()
        yield replace(stage, postgresql=url, directory=Path(directory))
        client.flushall()


def settle(stage: Stage) -> None:
    """Run ANALYZE and CHECKPOINT, so that no peer pays for the rows that were just inserted."""
    with psycopg.connect(stage.postgresql, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
        connection.execute("CHECKPOINT")


def rows(stage: Stage, counting: str) -> int:
    """The number that a `SELECT count(*)` returns."""
    with psycopg.connect(stage.postgresql) as connection:
        row = connection.execute(counting).fetchone()
    assert row is not None
    return int(row[0])
