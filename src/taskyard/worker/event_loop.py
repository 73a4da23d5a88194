"""The event loop of a process, for handlers that are coroutines; kept from task to task.

A timeout and a cancel reach a handler as ``asyncio`` knows it: its task is cancelled, at an
``await``. Whatever it leaves running on the loop is cancelled when it ends.
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

# What is left running has so long to clean up after itself.
LEFTOVER_SECONDS = 1.0
# Of several things that were raised together, the first of these decides.
BEFORE_A_BUG = (Cancelled, TimedOut, Fail, InvalidResult, InvalidInput)
AFTER_A_BUG = (Retry, Suspend)


class EventLoop:
    """Of one process, begun by its first handler that needs it."""

    def __init__(self) -> None:
        self._runner: asyncio.Runner | None = None
        self._is_clean = True

    def run(
        self, handler: Coroutine[Any, Any, Any], *, seconds: float | None, run: Run | None
    ) -> Any:
        """Run a handler to its end. Raises whatever it raises, TimedOut, Cancelled."""
        runner = self._runner = self._runner or asyncio.Runner()
        self._is_clean = False
        try:
            return runner.run(
                self._attempt(handler, seconds, run), context=contextvars.copy_context()
            )
        finally:
            if not self._is_clean:
                # Left in the middle, or with what does not end: neither it nor the process is kept.
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
        self._is_clean = await _cancel_what_is_left()
        if database.was_used:
            await sync_to_async(connections.close_all)()
        if task.cancelled() and reasons:
            raise reasons[0]
        return task.result()


async def _watch(run: Run, stop: Callable[[Stop], None]) -> None:
    while not run.cancelled:
        await asyncio.sleep(REPORT_INTERVAL_SECONDS)
    stop(Cancelled())


async def _cancel_what_is_left() -> bool:
    """Whether nothing runs any more on this loop."""
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    if not left:
        return True
    ended, going_on = await asyncio.wait(left, timeout=LEFTOVER_SECONDS)
    for task in ended:
        if not task.cancelled():
            task.exception()  # asked for, so that nobody complains that nobody has
    return not going_on


def deciding(error: BaseException) -> BaseException:
    """Of what several tasks of a handler raised together, what its attempt ends with.

    A bug goes before Retry and a sleep; the longest of several sleeps is slept.
    """
    raised = list(_leaves(error))
    if len(raised) == 1:
        return raised[0]
    for kind in BEFORE_A_BUG:
        for each in raised:
            if isinstance(each, kind):
                return each
    if not all(isinstance(each, AFTER_A_BUG) for each in raised):
        return error
    for each in raised:
        if isinstance(each, Retry):
            return each
    sleeps = [each for each in raised if isinstance(each, Suspend)]
    return max(sleeps, key=lambda sleep: sleep.wake_at)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if not isinstance(error, BaseExceptionGroup):
        yield error
        return
    for each in error.exceptions:
        yield from _leaves(each)


event_loop = EventLoop()
