"""The workers and tasks of the host project in ``shop.py``, for tests that use it from outside."""

import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any, Self

import psutil
import redis
from celery import Celery

from tests.live_system import Live
from tests.servers import ROOT


class Shop:
    """The host project: its broker, its workers, and the tasks that it has packed."""

    def __init__(self, live: Live) -> None:
        self.live = live
        self.broker = f"{live.redis_url.rstrip('/').rsplit('/', 1)[0]}/5"
        self.results = redis.Redis.from_url(f"{self.broker[:-1]}6", decode_responses=True)
        self.app = Celery("shop", broker=self.broker, set_as_current=False)
        self.workers: list[psutil.Popen] = []

    def start_worker(self, *options: str, joins: int = 1, **environment: str) -> psutil.Popen:
        env = self._env(joins, environment)
        command = ("celery", "-A", "tests.contrib.celery.shop", "worker", "-c", "2", "-l", "INFO")
        with self.live.log.open("ab") as log:
            worker = psutil.Popen(
                [sys.executable, "-m", *command, *options],
                cwd=ROOT,
                env=env,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.workers.append(worker)
        return worker

    def submit(
        self, count: int, *, joins: int = 1, **environment: str
    ) -> list[tuple[float, float]]:
        """Submit tasks from a process of the shop: see ``shop_submits.py``."""
        command = (sys.executable, "-m", "tests.contrib.celery.shop_submits", str(count))
        env = self._env(joins, environment)
        printed = subprocess.run(
            command, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True, check=True, timeout=120
        ).stdout
        lines = [line.split() for line in printed.splitlines()]
        return [(float(took), float(waited)) for took, waited in lines]

    def _env(self, joins: int, environment: dict[str, str]) -> dict[str, str]:
        return {
            **self.live.env,
            "DJANGO_SETTINGS_MODULE": "taskyard.server.settings",
            "SHOP_BROKER": self.broker,
            "SHOP_RESULTS": f"{self.broker[:-1]}6",
            "SHOP_JOINS": str(joins),
            **environment,
        }

    def pack(self, number: int, seconds: float = 0) -> None:
        arguments = {"number": number, "sent_at": time.time(), "seconds": seconds}
        self.app.send_task("shop.pack", kwargs=arguments)

    def packed(self) -> dict[str, float]:
        found: Any = self.results.hgetall("packed")
        return {number: float(waited) for number, waited in found.items()}

    def __enter__(self) -> Self:
        self.forget()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop_workers()
        self.results.close()

    def stop_workers(self) -> None:
        """SIGKILL, to all processes of all workers."""
        for process in [process for worker in self.workers for process in family(worker)]:
            if process.is_running():
                process.kill()
        for worker in self.workers:
            worker.wait()
        self.workers = []

    def forget(self) -> None:
        """Remove the messages of the broker and the results."""
        self.results.flushdb()
        with redis.Redis.from_url(self.broker) as broker:
            broker.flushdb()


def family(worker: psutil.Process) -> list[psutil.Process]:
    try:
        return [*worker.children(recursive=True), worker]
    except psutil.NoSuchProcess:
        return []


def joined(worker: psutil.Popen) -> psutil.Process:
    """The worker of Taskyard that a worker of the shop has started."""
    while worker.poll() is None:
        for child in worker.children():
            if "taskyard.contrib.celery.joined_worker" in child.cmdline():
                return child
        time.sleep(0.05)
    raise psutil.NoSuchProcess(worker.pid)


def until(ready: Callable[[], Any], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline
        time.sleep(0.05)
