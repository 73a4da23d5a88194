"""A log of every change of a task, written by triggers; the tables are read directly."""

import sqlite3
import threading
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

SQLITE_AUDIT = """
CREATE TABLE audit (n INTEGER PRIMARY KEY, at REAL, task_id INTEGER, old_status TEXT,
    status TEXT, old_attempt INTEGER, attempt INTEGER, old_fence INTEGER, fence INTEGER,
    old_worker INTEGER, old_process INTEGER, worker INTEGER);
CREATE TRIGGER audit_task AFTER UPDATE OF status, attempt, fence, finished_at ON taskyard_task
BEGIN
    INSERT INTO audit (at, task_id, old_status, status, old_attempt, attempt, old_fence, fence,
        old_worker, old_process, worker)
    VALUES ((julianday('now') - 2440587.5) * 86400.0, NEW.id, OLD.status, NEW.status,
        OLD.attempt, NEW.attempt, OLD.fence, NEW.fence, OLD.worker_id, OLD.process, NEW.worker_id);
END;
"""
POSTGRESQL_AUDIT = """
CREATE TABLE audit (n bigserial PRIMARY KEY, at double precision, task_id bigint,
    old_status text, status text, old_attempt integer, attempt integer, old_fence integer,
    fence integer, old_worker bigint, old_process integer, worker bigint);
CREATE FUNCTION audit_task() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO audit (at, task_id, old_status, status, old_attempt, attempt, old_fence, fence,
        old_worker, old_process, worker)
    VALUES (extract(epoch FROM clock_timestamp()), NEW.id, OLD.status, NEW.status,
        OLD.attempt, NEW.attempt, OLD.fence, NEW.fence, OLD.worker_id, OLD.process, NEW.worker_id);
    RETURN NULL;
END $$;
CREATE TRIGGER audit_task AFTER UPDATE OF status, attempt, fence, finished_at ON taskyard_task
    FOR EACH ROW EXECUTE FUNCTION audit_task();
"""
QUOTAS = """
SELECT a.user_id, a.active, count(t.id) FROM taskyard_quota a
LEFT JOIN taskyard_task t ON t.owner_id = a.user_id AND t.finished_at IS NULL
GROUP BY a.user_id, a.active
"""


@dataclass(frozen=True)
class Move:
    """One update of a task's state, as the database saw it."""

    at: float
    task_id: int
    old_status: str
    status: str
    old_attempt: int
    attempt: int
    old_fence: int
    fence: int
    old_worker: int | None
    old_process: int | None
    worker: int | None

    @property
    def begins(self) -> bool:
        """Whether an attempt begins: by a claim, or by the one write of the fast path."""
        one_write = self.old_worker is None and self.worker is None
        return self.fence == self.old_fence + 1 and (one_write or self.worker is not None)

    @property
    def is_rescue(self) -> bool:
        """Whether the task was taken from a process that did not report the end of its attempt."""
        return self.old_worker is not None and self.worker is None


class Truth:
    """A direct connection to the database of Taskyard: a file, or the address of a PostgreSQL."""

    def __init__(self, database: Path | str) -> None:
        self._database = database

    def rows(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        if isinstance(self._database, Path):
            with closing(sqlite3.connect(self._database, timeout=20)) as file:
                return file.execute(statement, values).fetchall()
        with psycopg.connect(self._database, autocommit=True, connect_timeout=3) as server:
            return server.execute(statement.replace("?", "%s").encode(), values).fetchall()

    def watch(self) -> None:
        """Record every change from now on."""
        if isinstance(self._database, Path):
            with closing(sqlite3.connect(self._database, timeout=20)) as file:
                file.executescript(SQLITE_AUDIT)
            return
        with psycopg.connect(self._database, autocommit=True) as server:
            server.execute(POSTGRESQL_AUDIT.encode())

    def moves(self, task_ids: Sequence[int] | None = None) -> list[Move]:
        found = self.rows(
            "SELECT at, task_id, old_status, status, old_attempt, attempt, old_fence, fence,"
            " old_worker, old_process, worker FROM audit ORDER BY n"
        )
        wanted = None if task_ids is None else set(task_ids)
        return [Move(*row) for row in found if wanted is None or row[1] in wanted]

    def quotas(self) -> list[tuple[str, int, int]]:
        """Every owner's counter and number of active tasks, at the same moment."""
        return [(str(name), int(said), int(true)) for name, said, true in self.rows(QUOTAS)]

    def active(self) -> int:
        return sum(true for _, _, true in self.quotas())

    def held(self) -> dict[int, int]:
        """The tasks that run now, and the processes that run them."""
        return dict(self.rows("SELECT id, process FROM taskyard_task WHERE worker_id IS NOT NULL"))

    def integrity(self) -> str:
        return str(self.rows("PRAGMA integrity_check")[0][0])


class Sampler(threading.Thread):
    """Checks every counter several times a second; ``wrong`` has the violations."""

    def __init__(self, truth: Truth, *, limit: int, pause_seconds: float = 0.2) -> None:
        super().__init__(daemon=True, name="sampler")
        self._truth = truth
        self._limit = limit
        self._pause_seconds = pause_seconds
        self._stopping = threading.Event()
        self.samples = 0
        self.wrong: set[str] = set()

    def run(self) -> None:
        while not self._stopping.wait(self._pause_seconds):
            try:
                quotas = self._truth.quotas()
            except (psycopg.Error, sqlite3.Error):
                continue  # during an outage the counters cannot be read
            self.samples += 1
            self.wrong |= said_wrongly(quotas, self._limit)

    def stop(self) -> None:
        self._stopping.set()
        self.join()


def said_wrongly(quotas: list[tuple[str, int, int]], limit: int) -> set[str]:
    wrong = {f"{name} has {true} active tasks" for name, _, true in quotas if true > limit}
    return wrong | {
        f"{name}: the counter says {said}, active are {true}"
        for name, said, true in quotas
        if said != true
    }


def wait_for(what: str, done: Any, *, seconds: float, pause: float = 0.05) -> float:
    """Wait until ``done()`` is true; return the seconds."""
    began = time.monotonic()
    while True:
        try:
            if done():
                return time.monotonic() - began
        except (psycopg.Error, sqlite3.Error):
            pass
        assert time.monotonic() - began < seconds, f"not within {seconds:g} s: {what}"
        time.sleep(pause)
