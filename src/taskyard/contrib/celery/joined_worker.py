"""The worker of Taskyard that a project's Celery worker starts: ``python -m`` this module."""

import logging
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from celery import signals
from django.conf import settings

NICENESS = 10
# Many processes of the project may send wake-ups; the worker looks for work so often at most.
LOOK_INTERVAL_SECONDS = 0.05
# Linux compares processes of different sessions by the niceness of their sessions (sched(7)), and
# each process of our pool leads one.
AUTOGROUP = Path("/proc/self/autogroup")


def main(parent: int, wake_ups: int, concurrency: str, loglevel: str, queues: list[str]) -> None:
    """Run a worker until it ends; drain it when ``parent`` has died.

    It looks for work when ``parent`` has written to the pipe ``wake_ups``.
    """
    os.nice(NICENESS)
    step_back()
    os.set_inheritable(wake_ups, False)
    threading.Thread(target=_drain_with, args=(parent,), name="parent", daemon=True).start()
    os.environ["TASKYARD_PROCESS"] = "worker"
    if queues:
        settings.TASKYARD = {**getattr(settings, "TASKYARD", {}), "QUEUES": queues}
    from taskyard.worker import app

    import_module("taskyard.worker.celery_signals")  # a receiver of it makes the session, before
    signals.worker_process_init.connect(step_back)
    threading.Thread(
        target=_look_when_woken, args=(wake_ups,), name="wake-ups", daemon=True
    ).start()
    pool = ("--pool", "prefork", "--concurrency", concurrency)
    level = ("--loglevel", logging.getLevelName(int(loglevel)))
    app.worker_main(["--quiet", "worker", *pool, *level])


def step_back(**kwargs: Any) -> None:
    """Let the project's processes go first if the processor is busy."""
    with suppress(OSError):  # no Linux, or one without such groups
        AUTOGROUP.write_text(str(NICENESS))


def _drain_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGTERM)


def _look_when_woken(wake_ups: int) -> None:
    from taskyard.worker import watchdog

    while os.read(wake_ups, 4096):
        if watchdog.current:
            watchdog.current.wake()
        time.sleep(LOOK_INTERVAL_SECONDS)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4], sys.argv[5:])
