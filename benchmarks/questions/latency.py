"""How soon a task is done where nothing else is: one client, one task at a time."""

import http.client
import json
import time
from collections.abc import Mapping
from typing import Any

from benchmarks.figures import Figure, milliseconds, percentile, value
from benchmarks.ground import ground
from benchmarks.yard import Yard, yard

TASK = json.dumps({"task_type": "sum", "input_data": {"numbers": [1, 2]}})


def ask(rounds: int, short: bool) -> list[Figure]:
    times = 5 if short else 200
    waited: list[float] = []
    middle: list[float] = []
    high: list[float] = []
    with ground() as servers, yard(servers.postgresql, users=1) as own:
        own.start_worker()
        client = Client(own)
        for _ in range(1 if short else 20):
            client.waited()
        for _ in range(rounds):
            waited.append(percentile([client.waited() for _ in range(times)], 0.5))
            polled = [client.polled() for _ in range(times)]
            middle.append(percentile(polled, 0.5))
            high.append(percentile(polled, 0.99))
        client.connection.close()
    return [
        value("`Prefer: wait` on a sum, p50", waited, milliseconds, at_most=0.012),
        value("create to completed, polled each ms, p50", middle, milliseconds, at_most=0.008),
        value("create to completed, polled each ms, p99", high, milliseconds, at_most=0.030),
    ]


class Client:
    """One kept connection."""

    def __init__(self, own: Yard) -> None:
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
