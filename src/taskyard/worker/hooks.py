"""What Celery tells us of its processes: when a worker starts, forks, is ready, and ends."""

import ctypes
import gc
import logging
import os
import signal
import sys
import time
from typing import Any

from celery import signals
from django.conf import settings
from django.db import connections

from taskyard.worker import identity, task_log
from taskyard.worker.guard import Guard, enter, leave

PR_SET_PDEATHSIG = 1
logger = logging.getLogger(__name__)
_guard: Guard | None = None


@signals.worker_init.connect
def enter_before_the_fork(sender: Any, **kwargs: Any) -> None:
    if not settings.REDIS_URL:
        raise SystemExit("taskyard: no broker is known: set REDIS_URL, or run `taskyard up`")
    identity.parent_pid = os.getpid()
    identity.slots()
    enter(concurrency=sender.concurrency)
    connections.close_all()
    # What was loaded stays, and its pages are shared with the children as long as nobody writes.
    gc.collect()
    gc.freeze()


@signals.worker_process_init.connect
def capture_what_handlers_say(**kwargs: Any) -> None:
    task_log.install()


@signals.worker_process_init.connect
def die_with_the_parent(**kwargs: Any) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != identity.parent_pid:
        os._exit(os.EX_UNAVAILABLE)


@signals.worker_ready.connect
def start_the_guard(sender: Any, **kwargs: Any) -> None:
    global _guard
    _guard = Guard(sender.pool)
    _guard.start()


@signals.task_received.connect
def note_the_bell(**kwargs: Any) -> None:
    if _guard:
        _guard.heard_at = time.monotonic()


@signals.worker_shutting_down.connect
def drain_the_processes(**kwargs: Any) -> None:
    if _guard:
        _guard.drain()


@signals.worker_shutdown.connect
def leave_in_good_order(**kwargs: Any) -> None:
    if _guard:
        _guard.stop()
    else:
        leave()
