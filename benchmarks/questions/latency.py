"""Measure the latency of a task on an idle system: one client, one task at a time.

"Idle" has a pause before each task, after which other programs have used the caches. The bare steps
show how much of the time that is: a row, two commits and three commands of Redis, by one client,
after the same pause.
"""

import http.client
import json
import time
from collections.abc import Callable, Mapping
from typing import Any, Self

import psycopg
import redis

from benchmarks.figures import Figure, milliseconds, percentile, value
from benchmarks.services import services
from benchmarks.system_under_test import SystemUnderTest, system_under_test

TASK = json.dumps({"task_type": "sum", "input_data": {"numbers": [1, 2]}})

PAUSE_SECONDS = 0.05


def ask(rounds: int, short: bool) -> list[Figure]:
    times = 5 if short else 100
    with services() as servers, system_under_test(servers.postgresql) as own, Steps(own) as steps:
        own.start_worker()
        client = Client(own)
        # The first task waits for the start of the worker, and its type is not known as quick yet.
        for _ in range(5):
            client.waited()
        kinds: dict[str, Callable[[], list[float]]] = {
            "waited": lambda: some(client.waited, times, PAUSE_SECONDS),
            "polled": lambda: some(client.polled, times, PAUSE_SECONDS),
            "in a row": lambda: some(client.polled, times, 0.0),
            "bare": lambda: some(steps.taken, times, PAUSE_SECONDS),
        }
        found: dict[str, list[list[float]]] = {kind: [] for kind in kinds}
        for _ in range(rounds):
            client.connection.close()  # it is opened again; a server keeps it for seconds only
            for kind, measure in kinds.items():
                found[kind].append(measure())
        client.connection.close()

    def row(what: str, kind: str, share: float, at_most: float | None) -> Figure:
        each = [percentile(times, share) for times in found[kind]]
        name = f"{what}, p{share * 100:.0f}"
        return value(name, each, milliseconds, at_most=at_most)

    polled = "create to completed, idle, polled each ms"
    return [
        row("`Prefer: wait` on a sum, idle", "waited", 0.5, 0.012),
        row("`Prefer: wait` on a sum, idle", "waited", 0.99, None),
        row(polled, "polled", 0.5, 0.008),
        row(polled, "polled", 0.99, 0.030),
        row("the bare steps of such a task, idle", "bare", 0.5, None),
        row("create to completed, one right after another", "in a row", 0.5, None),
    ]


def some(measure: Callable[[], float], times: int, pause: float) -> list[float]:
    taken = []
    for _ in range(times):
        time.sleep(pause)
        taken.append(measure())
    return taken


class Steps:
    """Only the steps that every such design needs."""

    def __init__(self, own: SystemUnderTest) -> None:
        self._database = psycopg.connect(own.env["DATABASE_URL"], prepare_threshold=0)
        self._redis = redis.Redis.from_url(own.redis_url)

    def __enter__(self) -> Self:
        self._database.execute("CREATE TABLE bare_steps (id bigserial PRIMARY KEY, done boolean)")
        self._database.commit()
        return self

    def __exit__(self, *error: object) -> None:
        self._database.execute("DROP TABLE bare_steps")
        self._database.commit()
        self._database.close()
        self._redis.close()

    def taken(self) -> float:
        """Insert and commit, notify, claim and end and commit, publish, read."""
        began = time.perf_counter()
        ask = self._database.execute
        ((task,),) = ask("INSERT INTO bare_steps DEFAULT VALUES RETURNING id").fetchall()
        self._database.commit()
        self._redis.rpush("bare_steps", task)
        self._redis.blpop(["bare_steps"])
        ask("SELECT id FROM bare_steps WHERE done IS NULL FOR UPDATE SKIP LOCKED").fetchall()
        ask("UPDATE bare_steps SET done = true WHERE id = %s", [task])
        self._database.commit()
        self._redis.publish("bare_steps", task)
        ask("SELECT id, done FROM bare_steps WHERE id = %s", [task]).fetchall()
        self._database.rollback()
        return time.perf_counter() - began


class Client:
    """One kept connection."""

    def __init__(self, own: SystemUnderTest) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", own.port, timeout=30)
        self._path = own.target.path
        self._headers = {
            "Authorization": f"Bearer {own.tokens[0]}",
            "Content-Type": "application/json",
        }

    def waited(self) -> float:
        """One create that is answered when the task is done."""
        began = time.perf_counter()
        task = self._ask("POST", self._path, TASK, {"Prefer": "wait=10"})
        took = time.perf_counter() - began
        assert task["status"] == "completed", task
        return took

    def polled(self) -> float:
        began = time.perf_counter()
        task = self._ask("POST", self._path, TASK, {})
        while task["status"] != "completed":
            time.sleep(0.001)
            assert time.perf_counter() < began + 30, task
            task = self._ask("GET", f"/api/tasks/{task['id']}/", None, {})
        return time.perf_counter() - began

    def _ask(
        self, method: str, path: str, body: str | None, also: Mapping[str, str]
    ) -> dict[str, Any]:
        self.connection.request(method, path, body, {**self._headers, **also})
        answer = self.connection.getresponse()
        text = answer.read()
        assert 200 <= answer.status < 300, text
        task: dict[str, Any] = json.loads(text)
        return task
