"""What Celery tells us of its processes: when a worker starts, forks, is ready, and ends."""

import gc
import logging
import os
import time
from contextlib import suppress
from typing import Any

from celery import signals
from django.conf import settings
from django.db import connections

from taskyard.worker import identity, lifespan, process_tree, reaper, task_log
from taskyard.worker.guard import Guard, enter, leave

REPLACE_SECONDS = 0.2
logger = logging.getLogger(__name__)
_guard: Guard | None = None
# Of a handler's forks: kept, for closing them would end the handler's own.
_inherited: list[Any] = []


@signals.worker_init.connect
def enter_before_the_fork(sender: Any, **kwargs: Any) -> None:
    if not settings.REDIS_URL:
        raise SystemExit("taskyard: no broker is known: set REDIS_URL, or run `taskyard up`")
    identity.parent_pid = os.getpid()
    reaper.start(identity.slots())
    process_tree.adopt_orphans()
    identity.processes = sender.concurrency
    enter(concurrency=sender.concurrency)
    connections.close_all()
    # What was loaded stays, and its pages are shared with the children as long as nobody writes.
    gc.collect()
    gc.freeze()


@signals.worker_process_init.connect
def capture_what_handlers_say(**kwargs: Any) -> None:
    task_log.install()


@signals.worker_process_init.connect
def begin_a_process(**kwargs: Any) -> None:
    identity.slots().release()  # from now on the reaper knows this process
    with suppress(PermissionError):  # it leads a session already
        os.setsid()
    process_tree.adopt_orphans()
    process_tree.outlive_the_parent()
    if os.getppid() != identity.parent_pid:
        os._exit(os.EX_UNAVAILABLE)
    process_tree.allow_children()
    memory_kib = settings.TASKYARD_MAX_MEMORY_PER_CHILD
    if memory_kib is None:
        memory_kib = lifespan.fair_share_kib(identity.processes)
    lifespan.begin(
        tasks=settings.TASKYARD_MAX_TASKS_PER_CHILD or None, memory_kib=memory_kib or None
    )
    os.register_at_fork(after_in_child=_leave_connections)


def _leave_connections() -> None:
    """What a handler forks must not talk on its connections: it opens its own."""
    for inherited in connections.all(initialized_only=True):
        _inherited.append(inherited)
        del connections[inherited.alias]


@signals.worker_ready.connect
def start_the_guard(sender: Any, **kwargs: Any) -> None:
    global _guard
    _guard = Guard(sender.pool)
    _guard.start()
    if sender.hub is not None:
        # Celery is told of a death a moment before it can be seen, and looks again after 5 s.
        sender.hub.call_repeatedly(REPLACE_SECONDS, sender.pool.maintain_pool)


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
