"""The worker of Taskyard that a project's Celery worker starts: ``python -m`` this module."""

import logging
import os
import signal
import sys
import threading
import time

from django.conf import settings

NICENESS = 10


def main(parent: int, concurrency: str, loglevel: str, queues: list[str]) -> None:
    """Run a worker until it ends; drain it when ``parent`` has died."""
    os.nice(NICENESS)
    threading.Thread(target=_drain_with, args=(parent,), name="parent", daemon=True).start()
    os.environ["TASKYARD_PROCESS"] = "worker"
    if queues:
        settings.TASKYARD = {**settings.TASKYARD, "QUEUES": queues}
    from taskyard.worker import app

    pool = ("--pool", "prefork", "--concurrency", concurrency)
    level = ("--loglevel", logging.getLevelName(int(loglevel)))
    app.worker_main(["--quiet", "worker", *pool, *level])


def _drain_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4:])
