"""Measure idle streams of one web process: its memory, and the delay of an event.

`python -m benchmarks.streams [--streams 5000] [--events 1000] [--rate 50]`; TEST_DB=postgresql for
PostgreSQL. Target: 5,000 streams in 400 MB, delivery p99 under a second.
"""

import argparse
import asyncio
import json
import os
import random
import resource
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil

from tests import servers
from tests.live_system import Live

AT_ONCE = 100
SETTLE_SECONDS = 10.0
LAST_SECONDS = 10.0


class Reader(asyncio.Protocol):
    """One stream; it records when each task arrived."""

    def __init__(self, port: int, token: str, arrived: dict[int, float]) -> None:
        self._request = (
            f"GET /api/tasks/events/ HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
            f"Authorization: Bearer {token}\r\n\r\n"
        ).encode()
        self._arrived = arrived
        self._rest = b""
        self.open: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if line.startswith(b"HTTP/1.1 "):
                assert b" 200 " in line, line
            elif line.startswith(b"retry:"):
                self.open.set_result(None)
            elif line.startswith(b"data: "):
                task_id = json.loads(line[6:])["id"]
                self._arrived.setdefault(task_id, time.perf_counter())

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        if not self.open.done():
            self.open.set_exception(exc or ConnectionError("closed before it was open"))


@contextmanager
def system() -> Iterator[Live]:
    with ExitStack() as stack:
        environment = {"TASKYARD_ACTIVE_LIMIT": "1000000"}
        if os.environ.get("TEST_DB") == "postgresql":
            server = stack.enter_context(servers.postgresql())
            environment["DATABASE_URL"] = stack.enter_context(servers.database(server))
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="taskyard-streams-"))
        yield stack.enter_context(Live(Path(directory), environment))


def tokens_of(owners: int) -> list[tuple[int, str]]:
    """New users, each with an access token."""
    from taskyard.accounts import tokens
    from taskyard.accounts.models import User

    User.objects.bulk_create(
        User(username=f"owner-{number}", password="!") for number in range(owners)
    )
    users = User.objects.filter(username__startswith="owner-").order_by("id")
    return [(user.pk, tokens.issue(user).access) for user in users]


def submit(owner_id: int) -> tuple[int, float]:
    """Accept a task that stays pending; its id, and when it was submitted."""
    from taskyard.core import lifecycle
    from taskyard.core.types import NewTask

    later = datetime.now(UTC) + timedelta(days=1)
    started = time.perf_counter()
    new = NewTask(task_type="sum", queue="default", input_data={"numbers": [1, 2, 3]}, run_at=later)
    return lifecycle.submit(owner_id, new).pk, started


async def measure(live: Live, streams: int, events: int, rate: float) -> None:
    assert live._web is not None
    web = psutil.Process(live._web.pid)
    before = web.memory_info().rss
    owners = await asyncio.to_thread(tokens_of, streams)
    loop = asyncio.get_running_loop()
    arrived: dict[int, float] = {}
    turn = asyncio.Semaphore(AT_ONCE)

    async def connect(token: str) -> Reader:
        async with turn:
            _, reader = await loop.create_connection(
                lambda: Reader(live.port, token, arrived), "127.0.0.1", live.port
            )
            await reader.open
            return reader

    started = time.perf_counter()
    readers = await asyncio.gather(*(connect(token) for _, token in owners))
    print(f"{len(readers)} streams opened in {time.perf_counter() - started:.1f} s")
    await asyncio.sleep(SETTLE_SECONDS)
    cpu = sum(web.cpu_times()[:2])
    await asyncio.sleep(SETTLE_SECONDS)
    idle = (sum(web.cpu_times()[:2]) - cpu) / SETTLE_SECONDS
    print(f"web process: {before / 1e6:.0f} MB before, {web.memory_info().rss / 1e6:.0f} MB with")
    print(f"web process: {idle:.1%} of a core while idle")

    submitted: dict[int, float] = {}
    begin = time.perf_counter()
    for number in range(events):
        await asyncio.sleep(max(0.0, begin + number / rate - time.perf_counter()))
        task_id, at = await asyncio.to_thread(submit, random.choice(owners)[0])
        submitted[task_id] = at
    deadline = time.perf_counter() + LAST_SECONDS
    while submitted.keys() - arrived and time.perf_counter() < deadline:
        await asyncio.sleep(0.05)
    late = sorted((arrived[t] - at) * 1000 for t, at in submitted.items() if t in arrived)
    print(f"{len(late)} of {events} events delivered, {rate:.0f} a second")
    print(
        f"submit to delivery: p50 {late[len(late) // 2]:.1f} ms, "
        f"p99 {late[len(late) * 99 // 100]:.1f} ms, max {late[-1]:.1f} ms"
    )
    print(f"web process: {web.memory_info().rss / 1e6:.0f} MB after")
    print(f"streams lost: {sum(reader.lost for reader in readers)}")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--streams", type=int, default=5000)
    options.add_argument("--events", type=int, default=1000)
    options.add_argument("--rate", type=float, default=50.0, help="events a second")
    given = options.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with system() as live:
        os.environ.update(live.env)
        from taskyard.server.django_setup import load_django

        load_django()
        asyncio.run(measure(live, given.streams, given.events, given.rate))


if __name__ == "__main__":
    main()
