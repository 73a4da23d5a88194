"""Measure how a lock on one user's row and a large bulk affect other users."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx
import psycopg

from tests.contract.client import User
from tests.faults.stage import Stage, Trial
from tests.faults.transition_log import wait_for

PAUSE_SECONDS = 0.25
BULK_BYTES = int(7.9 * 1024 * 1024)
CONNECTIONS_IN_TROUBLE = 8
MOST_TIMES_SLOWER = 3.0


@dataclass
class Seen:
    """The responses: how long each took, and the count of each status."""

    seconds: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)

    def ask(self, user: User, method: str, path: str, **more: object) -> httpx.Response:
        began = time.monotonic()
        answer = user.http.request(method, path, **more)  # type: ignore[arg-type]
        self.seconds.append(time.monotonic() - began)
        self.statuses[answer.status_code] += 1
        return answer

    @property
    def p99(self) -> float:
        return sorted(self.seconds)[int(len(self.seconds) * 0.99)]

    @property
    def failed(self) -> dict[int, int]:
        return {status: count for status, count in self.statuses.items() if status >= 500}


def one_in_trouble(stage: Stage, long: bool) -> str:
    """Lock one user's quota row while that user sends requests and another sends a bulk."""
    others, seconds = (50, 20.0) if long else (10, 5.0)
    with stage.trial(owners=others + 2, limit=100_000, threads=1) as trial:
        locked, sender, *users = trial.ledger.owners
        without = _work(users, seconds=seconds)
        with _locked_row(trial, locked), _asking(locked) as refused, _sending(sender) as bulk:
            during = _work(users, seconds=seconds)
            wait_for("the others' tasks have run", lambda: _done(trial, users), seconds=30)
        wait_for("all tasks have run", lambda: not trial.truth.active(), seconds=120)
    assert not during.failed, f"others were answered {during.failed}"
    assert set(refused.statuses) == {503}, refused.statuses
    assert bulk.statuses == {201: 1}, bulk.statuses
    times = during.p99 / without.p99
    if long:
        assert times < MOST_TIMES_SLOWER, f"p99 {times:.1f} times as long"
    return (
        f"{others} others: 0 × 5xx of {len(during.seconds)}, p99 {during.p99 * 1000:.0f} ms, "
        f"without {without.p99 * 1000:.0f} ms ({times:.1f} ×); the locked: "
        f"{refused.statuses[503]} × 503; the bulk: 201 after {bulk.seconds[0]:.1f} s"
    )


def _work(users: list[User], *, seconds: float) -> Seen:
    """Each user repeats a create, a detail and a list."""
    seen = Seen()
    until = time.monotonic() + seconds

    def one(number: int) -> None:
        time.sleep(PAUSE_SECONDS * number / len(users))
        user = users[number]
        task = {"task_type": "sum", "input_data": {"numbers": [number, 1]}}
        while time.monotonic() < until:
            task_id = seen.ask(user, "POST", "/tasks/create/", json=task).json().get("id", 0)
            time.sleep(PAUSE_SECONDS)
            seen.ask(user, "GET", f"/tasks/{task_id}/")
            time.sleep(PAUSE_SECONDS)
            seen.ask(user, "GET", "/tasks/")
            time.sleep(PAUSE_SECONDS)

    with ThreadPoolExecutor(len(users)) as pool:
        list(pool.map(one, range(len(users))))
    return seen


def _done(trial: Trial, users: list[User]) -> bool:
    names = [user.name for user in users]
    rows = trial.truth.rows(
        "SELECT count(*) FROM taskyard_task t JOIN taskyard_accounts_user u ON u.id = t.owner_id "
        "WHERE t.finished_at IS NULL AND u.username = ANY(?)",
        names,
    )
    return rows[0][0] == 0


@contextmanager
def _locked_row(trial: Trial, user: User) -> Iterator[None]:
    with psycopg.connect(trial.live.env["DATABASE_URL"]) as other:
        other.execute(
            "SELECT FROM taskyard_quota JOIN taskyard_accounts_user u ON u.id = user_id "
            "WHERE username = %s FOR UPDATE",
            [user.name],
        )
        yield
        other.rollback()


@contextmanager
def _asking(user: User) -> Iterator[Seen]:
    """The user with the locked row creates over several connections without a pause."""
    seen, over = Seen(), threading.Event()
    task = {"task_type": "sum", "input_data": {"numbers": [1]}}

    def ask() -> None:
        while not over.is_set():
            seen.ask(user, "POST", "/tasks/create/", json=task)

    with ThreadPoolExecutor(CONNECTIONS_IN_TROUBLE) as pool:
        for _ in range(CONNECTIONS_IN_TROUBLE):
            pool.submit(ask)
        try:
            yield seen
        finally:
            over.set()


@contextmanager
def _sending(user: User) -> Iterator[Seen]:
    seen = Seen()
    number = "1" * 15
    some = int(BULK_BYTES / 1000 / (len(number) + 2)) - 4
    task = {"task_type": "sum", "input_data": {"numbers": [int(number)] * some}}

    def send() -> None:
        time.sleep(1)
        seen.ask(user, "POST", "/tasks/bulk/", json={"tasks": [task] * 1000}, timeout=60)

    with ThreadPoolExecutor(1) as pool:
        sent = pool.submit(send)
        yield seen
        sent.result()
