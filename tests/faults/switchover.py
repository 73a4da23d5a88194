"""A switchover of PostgreSQL by a cluster manager: the old primary stays up, read-only.

Connections to it stay open and work; only new ones go to the new primary.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import psycopg

from tests import servers
from tests.faults.ledger import sums
from tests.faults.proxy import Proxy
from tests.faults.stage import Stage, Trial, children, lives
from tests.faults.transition_log import wait_for

SERVING_SECONDS = 5.0


def a_switchover(stage: Stage, long: bool) -> str:
    """Make the old primary read-only, promote a standby, and point the address to it."""
    seconds = 20.0 if long else 3.0
    with (
        servers.own_postgresql() as old,
        Proxy(old.url) as link,
        stage.trial(owners=4, threads=8, database_url=link.url) as trial,
        servers.own_postgresql(primary=old.url) as new,
        _listening(trial) as told,
    ):
        worker = trial.live.workers[0].pid
        family = {trial.live.web_pid, worker, *children(worker)}
        load = trial.ledger.load(int((seconds + 6) * 10), sums, pool=trial.pool, a_second=10)
        time.sleep(1)
        with trial.ledger.outage():
            _make_read_only(old.url)
            red = wait_for("readiness is red", lambda: _ready(trial) == 503, seconds=10)
            time.sleep(seconds)
            _promote(old.url, new.url)
            link.lead_to(new.url)
            began = time.monotonic()
            wait_for("readiness is green", lambda: _ready(trial) == 200, seconds=30)
            entry = trial.ledger.submit(sums(1))
            serving = time.monotonic() - began
            assert entry
            wait_for("a worker ran it", lambda: _has_ended(trial, entry.id), seconds=30)
            wait_for("the stream tells it", lambda: entry.id in told, seconds=30)
            working = time.monotonic() - began
        load.result()
        trial.ends_well()
        assert all(lives(pid) for pid in family), "a process was replaced"
        refused = [a for a in trial.ledger.answers if a.status == 503]
        assert refused, "nothing was refused"
        assert serving < SERVING_SECONDS, f"serving after {serving:.1f} s"
        assert working < SERVING_SECONDS, f"worker and stream after {working:.1f} s"
    return (
        f"red after {red:.1f} s; accepting {serving:.1f} s, worker and stream {working:.1f} s "
        f"after the new primary; {len(refused)} × 503, 0 restarts, 0 lost"
    )


def _make_read_only(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as server:
        server.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        server.execute("SELECT pg_reload_conf()")
    time.sleep(1)  # tasks that had begun have ended


def _promote(old: str, new: str) -> None:
    with psycopg.connect(old, autocommit=True) as primary:
        (end,) = primary.execute("SELECT pg_current_wal_lsn()").fetchone() or ("",)
    with psycopg.connect(new, autocommit=True) as standby:
        reached = "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn"
        wait_for(
            "the standby has everything",
            lambda: standby.execute(reached, [end]).fetchone() == (True,),
            seconds=20,
        )
        standby.execute("ALTER SYSTEM RESET default_transaction_read_only")
        standby.execute("SELECT pg_reload_conf()")
        standby.execute("SELECT pg_promote()")


def _ready(trial: Trial) -> int:
    return httpx.get(f"{trial.live.url}/readyz", timeout=10).status_code


def _has_ended(trial: Trial, task_id: int) -> bool:
    rows = trial.truth.rows("SELECT finished_at FROM taskyard_task WHERE id = ?", task_id)
    return rows[0][0] is not None


@contextmanager
def _listening(trial: Trial) -> Iterator[set[int]]:
    """The completed tasks in a new stream of the first owner."""
    told: set[int] = set()
    opened = threading.Event()
    client = httpx.Client(timeout=httpx.Timeout(10, read=None))

    def listen() -> None:
        headers = trial.ledger.owners[0].http.headers
        address = f"{trial.live.url}/api/tasks/events/"
        with client.stream("GET", address, headers=headers) as answer:
            opened.set()
            for line in answer.iter_lines():
                if line.startswith("data:") and '"status":"completed"' in line:
                    told.add(int(line.partition('"id":')[2].partition(",")[0]))

    def listen_until_closed() -> None:
        try:
            listen()
        except (httpx.HTTPError, OSError, RuntimeError):
            opened.set()

    thread = threading.Thread(target=listen_until_closed, daemon=True)
    thread.start()
    assert opened.wait(10)
    try:
        yield told
    finally:
        client.close()
