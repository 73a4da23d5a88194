"""Receivers of Celery's signals: a worker starts, forks, receives a message, and shuts down.

If a receiver raises, Celery logs the exception and continues. A worker that continued without its
lease or its watchdog would do harm, so our receivers exit.
"""

import gc
import logging
import os
import time
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from typing import Any

from celery import concurrency, signals
from celery.concurrency.prefork import TaskPool
from celery.worker import state
from django.apps import apps
from django.db import connections

from taskyard.core import encryption, prctl
from taskyard.core.conf import conf
from taskyard.core.redis_server import why_unusable
from taskyard.worker import (
    celery_host,
    entry,
    identity,
    lifespan,
    process_tree,
    reaper,
    task_log,
    watchdog,
)
from taskyard.worker.handler_database import database

logger = logging.getLogger(__name__)
# Connections in a process that a handler forked. They stay open, because to close them here would
# close them in the handler's process too.
_inherited: list[Any] = []


def ends_the_process_if_it_fails(receiver: Callable[..., None]) -> Callable[..., None]:
    @wraps(receiver)
    def run(*args: Any, **kwargs: Any) -> None:
        try:
            receiver(*args, **kwargs)
        except Exception:
            where = receiver.__name__
            logger.critical("leaving, to be started again", extra={"at": where}, exc_info=True)
            os._exit(os.EX_SOFTWARE)

    return run


def keep_logging(**kwargs: Any) -> None:
    """Leave the logging of a host project as it is: with a receiver, Celery does not touch it."""


if logging.getLogger().handlers and not apps.is_installed("taskyard.server"):
    signals.setup_logging.connect(keep_logging)


@signals.celeryd_init.connect
@ends_the_process_if_it_fails
def wait_for_the_database(options: dict[str, Any], **kwargs: Any) -> None:
    """Wait before Celery uses any name in the broker, because the names depend on the database."""
    broker_url = conf().BROKER_URL
    if not broker_url and apps.is_installed("taskyard.server"):
        entry.refuse("no broker is known: set REDIS_URL, or run `taskyard up`")
    if broker_url and (why := why_unusable(broker_url)):
        entry.refuse(why)
    if apps.is_installed("taskyard.server") and (why := encryption.fault()):
        entry.refuse(f"{why}: set TASKYARD_ENCRYPTION_KEYS")
    _refuse_other_pools(
        options.get("pool") or options.get("pool_cls") or kwargs["conf"].worker_pool
    )
    entry.wait_for_database()


def _refuse_other_pools(pool: Any) -> None:
    if not issubclass(concurrency.get_implementation(pool), TaskPool):
        entry.refuse("a worker runs its tasks in processes: start it with --pool prefork")


@signals.worker_init.connect
@ends_the_process_if_it_fails
def prepare_before_fork(sender: Any, **kwargs: Any) -> None:
    _refuse_other_pools(sender.pool_cls)
    entry.register(concurrency=sender.concurrency)
    reaper.start(identity.process_table())
    prctl.adopt_orphans()
    identity.processes = sender.concurrency
    # The children share the pages of loaded modules until one of them writes to a page.
    gc.collect()
    gc.freeze()


@signals.worker_process_init.connect
@ends_the_process_if_it_fails
def capture_output(**kwargs: Any) -> None:
    task_log.install()


@signals.worker_process_init.connect
@ends_the_process_if_it_fails
def begin_a_process(**kwargs: Any) -> None:
    identity.process_table().release()  # from now on the reaper knows this process
    with suppress(PermissionError):  # it leads a session already
        os.setsid()
    prctl.adopt_orphans()
    # Undo Celery's death signal: the reaper kills this process, after its descendants.
    prctl.set_death_signal(0)
    if os.getppid() != identity.parent_pid:
        os._exit(os.EX_UNAVAILABLE)
    process_tree.allow_children()
    database.begin()
    celery_host.give_back()
    memory_kib = conf().MAX_MEMORY_PER_CHILD
    if memory_kib is None:
        memory_kib = lifespan.fair_share_kib(identity.processes)
    lifespan.begin(tasks=conf().MAX_TASKS_PER_CHILD or None, memory_kib=memory_kib or None)
    os.register_at_fork(after_in_child=_begin_a_fork)


def _begin_a_fork() -> None:
    """In a process that a handler forked: it must end no task and use no inherited connection."""
    identity.is_fork = True
    for inherited in connections.all(initialized_only=True):
        _inherited.append(inherited)
        del connections[inherited.alias]
    database.forget()


@signals.task_received.connect
def note_message(**kwargs: Any) -> None:
    if watchdog.current:
        watchdog.current.consumed_at = time.monotonic()


@signals.worker_shutting_down.connect
@ends_the_process_if_it_fails
def drain_the_processes(**kwargs: Any) -> None:
    if watchdog.current:
        watchdog.current.drain()


@signals.worker_shutdown.connect
@ends_the_process_if_it_fails
def shut_down(**kwargs: Any) -> None:
    if watchdog.current:
        watchdog.current.stop()
    entry.deregister()
    if not _is_exit_code(state.should_stop) and not _is_exit_code(state.should_terminate):
        logger.critical("Celery ended without being told: leaving, to be started again")
        os._exit(os.EX_TEMPFAIL)


def _is_exit_code(value: Any) -> bool:
    """Whether a signal asked Celery to stop; the exit code can be 0."""
    return value is not None and value is not False
