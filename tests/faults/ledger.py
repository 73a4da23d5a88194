"""A client that records every 201, and repeats a request if its outcome is unknown."""

import json
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.contract.client import User
from tests.live_system import Live

PATIENCE_SECONDS = 300.0
PAUSE_SECONDS = 0.1
# How long requests may fail after the end of an outage.
AFTERMATH_SECONDS = 10.0
OVER = {"message": "Обратный отсчёт завершён"}


@dataclass(frozen=True)
class Job:
    """A task to submit and its expected end; a signed result names its attempt."""

    task_type: str
    input_data: dict[str, Any]
    result: dict[str, Any] | None = None
    status: str = "completed"
    error_codes: tuple[str, ...] = ()
    signed: bool = False
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Entry:
    """A 201 after ``tries`` requests; ``replayed`` if an earlier one had already succeeded."""

    id: int
    owner: str
    key: str
    job: Job
    tries: int
    replayed: bool
    at: float
    seconds: float


@dataclass(frozen=True)
class Answer:
    """A response to a submit; the status is None if there was no response."""

    at: float
    seconds: float
    status: int | None
    retry_after: str | None = None


def sums(number: int) -> Job:
    return Job("sum", {"numbers": [number, 1]}, {"result": number + 1})


def mixed(number: int) -> Job:
    """Mostly sums; some tasks that run for a while and sign their result; some that sleep."""
    many = {"max_attempts": 10}
    if number % 10 == 0:
        return Job("countdown", {"seconds": 2}, OVER, options=many)
    if number % 10 < 3:
        asked = {"number": number, "first": 0.2, "then": 0.2}
        return Job("signs", asked, {"number": number}, signed=True, options=many)
    return Job("sum", {"numbers": [number, 1]}, {"result": number + 1}, options=many)


def _patient(http: httpx.Client) -> httpx.Client:
    """A client with our timeout; it closes idle connections before the server does."""
    return httpx.Client(
        base_url=http.base_url,
        headers=http.headers,
        timeout=10,
        limits=httpx.Limits(keepalive_expiry=2),
    )


class Ledger:
    def __init__(self, live: Live, path: Path, *, owners: int = 1) -> None:
        self.path = path
        self.entries: list[Entry] = []
        self.answers: list[Answer] = []
        self.outages: list[tuple[float, float]] = []
        self.unexpected: list[str] = []
        self.stopped = False
        self._lock = threading.Lock()
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self.owners = [User.register(live) for _ in range(owners)]
        for owner in self.owners:
            User.opened.remove(owner)
            before, owner.http = owner.http, _patient(owner.http)
            before.close()

    def close(self) -> None:
        for owner in self.owners:
            owner.http.close()
        os.close(self._file)

    @contextmanager
    def outage(self) -> Iterator[None]:
        """Declare an outage: submits may get a 503 until shortly after the block."""
        began = time.time()
        self.outages.append((began, float("inf")))
        try:
            yield
        finally:
            self.outages[-1] = (began, time.time() + AFTERMATH_SECONDS)

    def submit(self, job: Job, *, owner: int = 0) -> Entry | None:
        """Send with the same key until it is accepted; None if the ledger stops before."""
        user = self.owners[owner % len(self.owners)]
        key, tries, in_doubt = secrets.token_hex(12), 0, False
        until = time.monotonic() + PATIENCE_SECONDS
        body = {"task_type": job.task_type, "input_data": job.input_data, **job.options}
        while time.monotonic() < until:
            if self.stopped and not in_doubt:
                return None
            tries += 1
            answer, response = self._ask(user, key, body)
            if response is not None and answer.status == 201:
                replayed = response.headers.get("Idempotency-Replayed") == "true"
                return self._write_down(
                    Entry(
                        int(response.json()["id"]),
                        user.name,
                        key,
                        job,
                        tries,
                        replayed,
                        answer.at,
                        answer.seconds,
                    )
                )
            # No response, or one during an outage: the task may have been accepted.
            in_doubt = in_doubt or answer.status is None or answer.status >= 500
            if response is not None and answer.status not in (503, 507):
                code = response.json().get("code")
                if code != "active_limit_exceeded":
                    with self._lock:
                        self.unexpected.append(f"{answer.status}: {response.text[:200]}")
                    return None
            time.sleep(PAUSE_SECONDS)
        with self._lock:
            self.unexpected.append(f"not accepted for {PATIENCE_SECONDS} s after {tries} tries")
        return None

    def load(
        self,
        jobs: int,
        make: Callable[[int], Job],
        *,
        pool: ThreadPoolExecutor,
        a_second: float | None = None,
    ) -> "Future[list[Entry | None]]":
        """Submit orders in the background at a rate; the main thread injects the faults."""
        began = time.monotonic()

        def one(number: int) -> Entry | None:
            if a_second:
                while not self.stopped and (wait := began + number / a_second - time.monotonic()):
                    if wait <= 0:
                        break
                    time.sleep(min(wait, 0.2))
            return self.submit(make(number), owner=number)

        futures = [pool.submit(one, number) for number in range(jobs)]
        return pool.submit(lambda: [each.result() for each in futures])

    def slowest(self, share: float, *, since: float = 0.0, until: float = float("inf")) -> float:
        """The quantile of the seconds that accepted submits took."""
        taken = sorted(
            a.seconds for a in list(self.answers) if a.status == 201 and since <= a.at <= until
        )
        return taken[min(len(taken) - 1, int(len(taken) * share))] if taken else 0.0

    def _ask(
        self, user: User, key: str, body: dict[str, Any]
    ) -> tuple[Answer, httpx.Response | None]:
        at, began = time.time(), time.monotonic()
        response: httpx.Response | None = None
        try:
            response = user.http.post("/tasks/create/", json=body, headers={"Idempotency-Key": key})
        except httpx.TransportError:
            answer = Answer(at, time.monotonic() - began, None)
        else:
            retry_after = response.headers.get("Retry-After")
            taken = time.monotonic() - began
            answer = Answer(at, taken, response.status_code, retry_after)
        with self._lock:
            self.answers.append(answer)
        return answer, response

    def _write_down(self, entry: Entry) -> Entry:
        line = json.dumps(asdict(entry), ensure_ascii=False).encode() + b"\n"
        with self._lock:
            os.write(self._file, line)
            os.fsync(self._file)
            self.entries.append(entry)
        return entry
