"""The event loop of a process, in which async handlers run, one after the other.

A timeout or a cancellation cancels the handler's ``asyncio`` task, at an ``await``. When a handler
ends, the tasks that it left running on the loop are cancelled.
"""

import asyncio
import contextvars
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from asgiref.sync import sync_to_async
from django.db import connections

from taskyard.catalog.run import (
    REPORT_INTERVAL_SECONDS,
    Cancelled,
    Fail,
    Retry,
    Run,
    Stop,
    Suspend,
    TimedOut,
)
from taskyard.catalog.schema import InvalidInput
from taskyard.catalog.task_type import InvalidResult
from taskyard.worker import lifespan
from taskyard.worker.handler_database import database

# Cancelled tasks have so long to clean up.
LEFTOVER_SECONDS = 1.0
# If several exceptions were raised together, the first of these classes decides.
BEFORE_A_BUG = (Cancelled, TimedOut, Fail, InvalidResult, InvalidInput)
AFTER_A_BUG = (Retry, Suspend)


class EventLoop:
    """The event loop of one process. Its first async handler starts it."""

    def __init__(self) -> None:
        self._runner: asyncio.Runner | None = None
        self._is_clean = True

    def run(
        self, handler: Coroutine[Any, Any, Any], *, seconds: float | None, run: Run | None
    ) -> Any:
        """Run a handler to its end. Raises the handler's exception, TimedOut or Cancelled."""
        runner = self._runner = self._runner or asyncio.Runner()
        self._is_clean = False
        try:
            return runner.run(
                self._attempt(handler, seconds, run), context=contextvars.copy_context()
            )
        finally:
            if not self._is_clean:
                # It was interrupted, or a task does not end: replace the loop and the process.
                self._runner = None
                lifespan.lifespan.end()

    async def _attempt(
        self, handler: Coroutine[Any, Any, Any], seconds: float | None, run: Run | None
    ) -> Any:
        loop = asyncio.get_running_loop()
        task = loop.create_task(handler)
        reasons: list[Stop] = []

        def stop(reason: Stop) -> None:
            if not task.done():
                reasons.append(reason)
                task.cancel()

        if seconds is not None:
            loop.call_later(seconds, stop, TimedOut())
        if run is not None:
            watcher = loop.create_task(_watch(run, stop))
        await asyncio.wait([task])
        if run is not None:
            watcher.cancel()
        self._is_clean = await _cancel_remaining()
        if database.was_used:
            await sync_to_async(connections.close_all)()
        if task.cancelled() and reasons:
            raise reasons[0]
        return task.result()


async def _watch(run: Run, stop: Callable[[Stop], None]) -> None:
    while not run.cancelled:
        await asyncio.sleep(REPORT_INTERVAL_SECONDS)
    stop(Cancelled())


async def _cancel_remaining() -> bool:
    """Cancel the tasks that still run on this loop; whether all have ended."""
    remaining = asyncio.all_tasks() - {asyncio.current_task()}
    for task in remaining:
        task.cancel()
    if not remaining:
        return True
    ended, running = await asyncio.wait(remaining, timeout=LEFTOVER_SECONDS)
    for task in ended:
        if not task.cancelled():
            task.exception()  # otherwise asyncio logs that the exception was never retrieved
    return not running


def deciding(error: BaseException) -> BaseException:
    """The exception that decides how an attempt ends, if several tasks of a handler raised.

    A bug comes before Retry and a sleep; of several sleeps the longest counts.
    """
    raised = list(_leaves(error))
    if len(raised) == 1:
        return raised[0]
    for kind in BEFORE_A_BUG:
        for leaf in raised:
            if isinstance(leaf, kind):
                return leaf
    if not all(isinstance(leaf, AFTER_A_BUG) for leaf in raised):
        return error
    for leaf in raised:
        if isinstance(leaf, Retry):
            return leaf
    sleeps = [leaf for leaf in raised if isinstance(leaf, Suspend)]
    return max(sleeps, key=lambda sleep: sleep.wake_at)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if not isinstance(error, BaseExceptionGroup):
        yield error
        return
    for inner in error.exceptions:
        yield from _leaves(inner)


event_loop = EventLoop()
