"""The servers that peers are played on: our own, as durable as the project's tests have them."""

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
    """Where PostgreSQL and Redis are, and a directory for what is left behind."""

    postgresql: str
    redis: str
    directory: Path

    def environment(self) -> dict[str, str]:
        """What the programs of a peer are told."""
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

    The file is synced once a second, as Redis does it by default and as all Redis queues advise:
    a power cut loses a second of work, where PostgreSQL loses none.
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
    """Statistics and a checkpoint, so that no peer pays for the rows that were just put in."""
    with psycopg.connect(stage.postgresql, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
        connection.execute("CHECKPOINT")


def rows(stage: Stage, counting: str) -> int:
    """What a `SELECT count(*)` says."""
    with psycopg.connect(stage.postgresql) as connection:
        row = connection.execute(counting).fetchone()
    assert row is not None
    return int(row[0])
