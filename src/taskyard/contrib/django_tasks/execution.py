"""Run a Django task in a worker: its context, its signals, its result."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from inspect import iscoroutinefunction
from traceback import format_exception
from typing import Any

from asgiref.sync import sync_to_async
from django.dispatch import Signal

from taskyard.catalog.encoding import encode_json
from taskyard.catalog.run import Cancelled, Fail, Run, Suspend, TimedOut
from taskyard.contrib.django_tasks.framework import (
    Task,
    TaskContext,
    TaskError,
    TaskResult,
    TaskResultStatus,
    normalize_json,
    task_finished,
    task_started,
)

# These end a task in any attempt. asyncio's is how a timeout or a cancellation reaches a coroutine.
FINAL = (Cancelled, TimedOut, Fail, asyncio.CancelledError)


@dataclass(frozen=True, kw_only=True)
class Context(TaskContext):  # type: ignore[misc]  # the stubs do not say that it is frozen
    """What a task with ``takes_context`` gets: Django's context, and Taskyard's ``run``."""

    run: Run


@dataclass(frozen=True)
class _Attempt:
    """An attempt that runs; ``begins`` is false if it goes on after a sleep."""

    task: Task
    run: Run
    result: TaskResult
    begins: bool
    is_last: bool

    @property
    def context(self) -> tuple[Context, ...]:
        if not self.task.takes_context:
            return ()
        return (Context(task_result=self.result, run=self.run),)

    @property
    def signal(self) -> dict[str, Any]:
        """The arguments of a signal."""
        return {"sender": type(self.task.get_backend()), "task_result": self.result}

    def succeed(self, value: Any) -> Any:
        """Note the return value; as JSON. Raises TypeError or ValueError if it is not."""
        value = normalize_json(value)
        encode_json(value)
        self._set(status=TaskResultStatus.SUCCESSFUL, _return_value=value)
        return value

    def fail(self, error: BaseException) -> bool:
        """Note the exception; whether it ends the task."""
        if isinstance(error, Suspend) or not (self.is_last or isinstance(error, FINAL)):
            return False
        kind = type(error)
        path = f"{kind.__module__}.{kind.__qualname__}"
        text = "".join(format_exception(error))
        self.result.errors.append(TaskError(exception_class_path=path, traceback=text))
        self._set(status=TaskResultStatus.FAILED)
        return True

    def _set(self, **fields: Any) -> None:
        for name, value in {"finished_at": self.run.now(), **fields}.items():
            object.__setattr__(self.result, name, value)


def handler_of(task: Task) -> Callable[..., Any]:
    """The handler of a task's type.

    A receiver of a signal that raises is logged and changes nothing. ``task_finished`` is sent
    before the end is written, and not for an attempt after which the task runs again.
    """

    def handler(run: Run, args: list[Any], kwargs: dict[str, Any]) -> Any:
        attempt = _begin(task, run)
        if attempt.begins:
            task_started.send_robust(**attempt.signal)
        try:
            value = attempt.succeed(task.func(*attempt.context, *args, **kwargs))
        except BaseException as error:
            if attempt.fail(error):
                task_finished.send_robust(**attempt.signal)
            raise
        task_finished.send_robust(**attempt.signal)
        return value

    async def async_handler(run: Run, args: list[Any], kwargs: dict[str, Any]) -> Any:
        attempt = _begin(task, run)
        if attempt.begins:
            await _send(task_started, **attempt.signal)
        try:
            value = attempt.succeed(await task.func(*attempt.context, *args, **kwargs))
        except BaseException as error:
            if attempt.fail(error):
                await _send(task_finished, **attempt.signal)
            raise
        await _send(task_finished, **attempt.signal)
        return value

    chosen = async_handler if iscoroutinefunction(task.func) else handler
    chosen.__module__, chosen.__qualname__ = task.func.__module__, task.func.__qualname__
    return chosen


async def _send(signal: Signal, **arguments: Any) -> None:
    """Send in a thread, which sees the exception that is handled; ``asend`` hides it."""
    await sync_to_async(signal.send_robust)(**arguments)


def _begin(task: Task, run: Run) -> _Attempt:
    from taskyard.contrib.django_tasks import record

    result, begins, is_last = run.ask(lambda: record.begin(task, run))
    return _Attempt(result.task, run, result, begins, is_last)
