"""The stage of a row of the table: its systems, ledger, transition log and oracle."""

import os
import secrets
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests import servers
from tests.faults.ledger import Ledger
from tests.faults.oracle import executions, judge, settle
from tests.faults.proxy import Proxy
from tests.faults.transition_log import Sampler, Truth
from tests.live_system import Live


@dataclass
class Trial:
    """One system under faults, with its ledger, transition log and oracle."""

    live: Live
    truth: Truth
    ledger: Ledger
    sampler: Sampler
    limit: int
    pool: ThreadPoolExecutor
    redis: Proxy
    lost: set[int] = field(default_factory=set)
    """The processes that a row has ended, or kept from their lease."""

    @property
    def marks(self) -> Counter[int]:
        """How often each task began, by the marks that its handler left."""
        path = self.live.log.with_name("marks")
        return Counter(map(int, path.read_text().split())) if path.exists() else Counter()

    def ends_well(self, *, seconds: float = 120) -> float:
        """Wait until all tasks have ended and ask the oracle; return the seconds."""
        taken = settle(self.truth, seconds=seconds)
        findings = self.findings()
        shown = "\n".join(findings[:10])
        assert not findings, f"{len(findings)} findings, such as\n{shown}"
        return taken

    def findings(self) -> list[str]:
        begun = executions(self.marks, self.truth.moves(), self.lost)
        return begun + judge(self.ledger, self.truth, self.sampler, limit=self.limit)

    def count_in_the_log(self, event: str) -> int:
        return self.live.log.read_text().count(event)


class Stage:
    """``database`` is sqlite or postgresql; ``server`` is the PostgreSQL that rows share."""

    def __init__(self, database: str, directory: Path, *, server: str | None = None) -> None:
        self.database = database
        self.directory = directory
        self.server = server

    @contextmanager
    def trial(
        self,
        *,
        owners: int = 1,
        limit: int = 1000,
        threads: int = 8,
        database_url: str | None = None,
        seen_as: str | None = None,
        **environment: str,
    ) -> Iterator[Trial]:
        """A running system with a Redis behind a proxy; ``seen_as`` is the web's address of it."""
        home = self.directory / secrets.token_hex(4)
        with ExitStack() as stack:
            if database_url is None and self.database == "postgresql":
                assert self.server
                database_url = stack.enter_context(servers.database(self.server))
            given = {
                "TASKYARD_TASK_TYPES": "tests.task_types",
                "TASKYARD_REGISTER_RATE": "100000/hour",
                "TASKYARD_LOGIN_RATE": "100000/min",
                "TASKYARD_ACTIVE_LIMIT": str(limit),
                "MARKS": str(home / "marks"),
                **environment,
            }
            if database_url:
                given["DATABASE_URL"] = seen_as or database_url
            live = Live(home, given)
            redis = stack.enter_context(Proxy(live.redis_url))
            live.env["REDIS_URL"] = redis.url
            stack.enter_context(live)
            truth = Truth(database_url or Path(live.env["TASKYARD_HOME"]) / "taskyard.sqlite3")
            with self.watched(live, truth, owners, limit, threads, redis) as trial:
                yield trial

    @contextmanager
    def watched(
        self, live: Live, truth: Truth, owners: int, limit: int, threads: int, redis: Proxy
    ) -> Iterator[Trial]:
        truth.watch()
        ledger = Ledger(live, live.log.with_name("ledger"), owners=owners)
        sampler = Sampler(truth, limit=limit)
        sampler.start()
        pool = ThreadPoolExecutor(threads + 1)
        try:
            yield Trial(live, truth, ledger, sampler, limit, pool, redis)
        finally:
            ledger.stopped = True
            pool.shutdown(wait=True, cancel_futures=True)
            sampler.stop()
            ledger.close()


def children(pid: int) -> list[int]:
    """The processes of a worker."""
    return [child.pid for child in psutil.Process(pid).children()]


def lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def is_root() -> bool:
    return os.getuid() == 0
