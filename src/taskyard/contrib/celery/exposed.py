"""Make an existing Celery task a task type.

The task runs in Celery's own tracer. So its hooks (``before_start``, ``on_failure``, …), Celery's
signals, and libraries that wrap the tracer, such as Sentry's, work as in any worker of Celery. The
broker and the result backend of the task's app take no part. During an attempt the task has a
result backend that reports progress to Taskyard, and its retry sends no message.
"""

import inspect
import json
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any, get_type_hints

from celery import Task, _state, states
from celery.app import trace
from celery.backends.base import DisabledBackend
from celery.contrib.abortable import ABORTED
from celery.exceptions import Ignore, Reject, SoftTimeLimitExceeded
from celery.utils.nodenames import nodename
from celery.utils.time import maybe_make_aware
from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from taskyard.catalog import task_type as catalog
from taskyard.catalog.files import InputFile, files_in
from taskyard.catalog.run import Fail, Retry, Run, TimedOut
from taskyard.catalog.task_type import Priority, TaskType

MOST_ATTEMPTS = 10
# The handler's parameter for the Run; a name that no task has.
RUN = "taskyard_run"


class SoftTimeout(TimedOut, SoftTimeLimitExceeded):
    """The timeout of a task with a soft time limit: the body may catch it, as in Celery."""


class ProgressBackend(DisabledBackend):
    """The result backend of a task during one attempt. It reports progress and stores nothing."""

    def __init__(self, app: Any, run: Run) -> None:
        super().__init__(app)
        self._run = run
        self.state: str = states.STARTED
        self.meta: Any = None

    def store_result(self, task_id: Any, result: Any, state: str, *args: Any, **kwargs: Any) -> Any:
        """Report ``current`` and ``total`` of a state's meta. Raises Cancelled."""
        if task_id != str(self._run.task_id):
            return result
        self.state, self.meta = state, result
        if isinstance(result, Mapping) and "current" in result:
            message = result.get("message") or result.get("status") or ""
            with suppress(ValueError, TypeError, OverflowError):  # a meta may have any form
                self._run.progress(result["current"], result.get("total"), str(message))
        self._run.raise_if_cancelled()
        return result

    def get_task_meta(self, task_id: Any, cache: bool = True) -> dict[str, Any]:
        """The last state of this attempt; ``ABORTED`` from when it is cancelled."""
        if task_id != str(self._run.task_id):
            return {"status": states.PENDING, "result": None}
        state = ABORTED if self._run.cancelled else self.state
        return {"status": state, "result": self.meta}


class RetrySignature:
    """Stands for the message of ``Task.retry``. None is sent, because the row is the task."""

    def __init__(self) -> None:
        self.args: Any = None
        self.kwargs: Any = None
        self.countdown: float | None = None
        self.eta: datetime | None = None
        self.is_sent = False

    def from_request(
        self,
        request: Any = None,
        args: Any = None,
        kwargs: Any = None,
        *,
        countdown: float | None = None,
        eta: datetime | None = None,
        **options: Any,
    ) -> "RetrySignature":
        """Replaces ``Task.signature_from_request``, with which ``Task.retry`` makes its message."""
        self.args, self.kwargs, self.countdown, self.eta = args, kwargs, countdown, eta
        return self

    def apply_async(self) -> None:
        self.is_sent = True


def expose(
    task: Any,
    name: str,
    *,
    types: Mapping[str, Any] | None = None,
    label: str | None = None,
    queue: str = "default",
    priority: Priority = "normal",
    max_attempts: int | None = None,
    timeout: float | None = None,
    result_limit: int = 1024 * 1024,
    keep_input: bool = True,
) -> None:
    """Register a Celery task as the task type ``name``.

    The input has the parameters of the task, with the types of its annotations and of ``types``.
    ``max_attempts`` is the task's ``max_retries`` + 1 unless it is given, ``timeout`` its soft or
    else its hard time limit. Without ``keep_input`` the input is deleted at the end.
    Raises TypeError for a task that cannot be called so, ValueError for an invalid option.
    """
    if not isinstance(task, Task):
        hint = ": register the class, and give the instance" if inspect.isclass(task) else ""
        raise TypeError(f"expose {name!r}: {task!r} is no task of Celery{hint}")
    soft_limit = task.soft_time_limit or task.app.conf.task_soft_time_limit
    hard_limit = task.time_limit or task.app.conf.task_time_limit
    doc = (inspect.getdoc(task.run) or "").strip()
    catalog.registry.add(
        TaskType(
            name=name,
            handler=_handler(task, name, types or {}),
            label=label or name.replace("-", " ").replace("_", " ").capitalize(),
            description=doc.split("\n\n")[0].replace("\n", " "),
            queue=queue,
            priority=priority,
            max_attempts=_attempts_of(task, name) if max_attempts is None else max_attempts,
            timeout=timeout or soft_limit or hard_limit,
            timed_out=SoftTimeout if soft_limit else TimedOut,
            result_limit=result_limit,
            keep_input=keep_input,
        )
    )


def _attempts_of(task: Any, name: str) -> int:
    limits = (task.max_retries, getattr(task, "retry_kwargs", {}).get("max_retries", 0))
    if None not in limits and max(limits) < MOST_ATTEMPTS:
        return int(max(limits)) + 1
    times = "without limit" if None in limits else f"{max(limits)} times"
    raise ValueError(
        f"expose {name!r}: {task.name} retries {times}, a task of Taskyard has at most "
        f"{MOST_ATTEMPTS} attempts: give max_attempts"
    )


def _handler(task: Any, name: str, types: Mapping[str, Any]) -> Callable[..., Any]:
    """A handler with the signature of the task, by keywords, and a Run."""
    if inspect.isgeneratorfunction(task.run) or inspect.isasyncgenfunction(task.run):
        raise TypeError(f"expose {name!r}: {task.name} yields; a task returns its result")
    if inspect.iscoroutinefunction(task.run):
        raise TypeError(f"expose {name!r}: {task.name} is a coroutine, which Celery does not run")
    hints = {**_annotations(task.run), **types}
    parameters = _parameters(task, name, hints, types)

    def handler(**arguments: Any) -> Any:
        run = arguments.pop(RUN)
        return _returned(_attempt(_current(task), run, arguments), hints.get("return"))

    run_parameter = inspect.Parameter(RUN, inspect.Parameter.KEYWORD_ONLY, annotation=Run)
    handler.__signature__ = inspect.Signature([run_parameter, *parameters])  # type: ignore[attr-defined]
    handler.__annotations__ = {**hints, RUN: Run}
    handler.__name__ = task.name.rpartition(".")[2]
    handler.__module__, handler.__qualname__ = task.run.__module__, task.name
    return handler


def _annotations(body: Callable[..., Any]) -> dict[str, Any]:
    try:
        return get_type_hints(body, include_extras=True)
    except NameError:  # a name that only type checkers import; ``types`` may replace it
        annotations: dict[str, Any] = inspect.get_annotations(body)
        return {name: hint for name, hint in annotations.items() if not isinstance(hint, str)}


def _parameters(
    task: Any, name: str, hints: Mapping[str, Any], types: Mapping[str, Any]
) -> list[inspect.Parameter]:
    """The parameters of the task by keyword. Of ``**kwargs`` those that ``types`` names."""
    parameters = []
    further = set(types) - {"return"}
    for parameter in inspect.signature(task.run).parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            continue
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.POSITIONAL_ONLY):
            raise TypeError(
                f"expose {name!r}: {task.name} takes {str(parameter).partition(':')[0]!r}, "
                "which cannot be given by name"
            )
        if parameter.name not in hints:
            raise TypeError(
                f"expose {name!r}: {task.name} has no annotation for {parameter.name!r}: "
                "give its type in types"
            )
        further.discard(parameter.name)
        parameters.append(parameter.replace(kind=parameter.KEYWORD_ONLY))
    if further and inspect.getfullargspec(task.run).varkw is None:
        raise TypeError(f"expose {name!r}: {task.name} has no parameter {sorted(further)[0]!r}")
    keyword = inspect.Parameter.KEYWORD_ONLY
    return [*parameters, *(inspect.Parameter(extra, keyword) for extra in sorted(further))]


def _current(task: Any) -> Any:
    """The task itself; of a shared task that of the current app."""
    resolve = getattr(type(task), "_get_current_object", None)
    return resolve(task) if resolve else task


def _attempt(task: Any, run: Run, arguments: dict[str, Any]) -> Any:
    """Run the task once in Celery's tracer; its result, or the exception that ends the attempt."""
    if run.checkpoint is not None:  # the arguments of the last retry
        signature = catalog.registry.get(run.task_type).signature
        submitted = {used.file.id: used.file for used in files_in(arguments)}
        arguments = signature.parse_json(json.dumps(run.checkpoint))
        for used in files_in(arguments):
            if used.file.id in submitted:
                used.file.source = submitted[used.file.id].source
    backend = ProgressBackend(task.app, run)
    again = RetrySignature()
    with _adapted(task, backend, again):
        # By its module, because Sentry replaces it there.
        tracer = trace.build_tracer(task.name, task, app=task.app)
        traced = tracer(str(run.task_id), [], arguments, _request(task, run, arguments))
    error: Any = traced.info.retval if traced.info else None
    if again.is_sent:
        _keep_arguments(task, run, again, arguments)
        raise Retry(_reason(error), after=_seconds(task, run, again))
    match error:
        case None:
            return traced.retval
        case Ignore():
            return _ignored(backend)
        case Reject():
            reason, requeue = error.args
            raise Retry(f"requeued: {reason}") if requeue else Fail("rejected", str(reason))
        case Fail() | Retry() | TimedOut():
            raise error
    raise Fail("exception", f"{type(error).__name__}: {error}") from error


@contextmanager
def _adapted(task: Any, backend: ProgressBackend, again: RetrySignature) -> Iterator[None]:
    """In this block the task reports to us and retries by us.

    An alarm may interrupt Celery's tracer before it has restored its stacks.
    """
    before = task._backend
    depths = [(stack, len(stack)) for stack in _stacks(task)]
    task.backend, task.signature_from_request = backend, again.from_request
    try:
        yield
    finally:
        task.backend = before
        del task.signature_from_request
        for stack, depth in depths:
            while len(stack) > depth:
                stack.pop()


def _stacks(task: Any) -> tuple[Any, Any]:
    return task.request_stack, _state._task_stack  # type: ignore[attr-defined]


def _request(task: Any, run: Run, arguments: dict[str, Any]) -> dict[str, Any]:
    """``Task.request`` as a message of Celery would have made it."""
    task_id = str(run.task_id)
    return {
        "id": task_id,
        "root_id": task_id,
        "correlation_id": task_id,
        "task": task.name,
        "retries": run.attempt - 1,
        "delivery_info": {"exchange": "", "routing_key": run.task_type, "redelivered": False},
        "hostname": nodename("taskyard", socket.gethostname()),
        "origin": "taskyard",
        "timelimit": [task.time_limit, task.soft_time_limit],
        "ignore_result": True,
        "argsrepr": "()",
        # Celery's records have it.
        "kwargsrepr": "{…}" if _has_secrets(run) else repr(arguments)[:1000],
    }


def _keep_arguments(task: Any, run: Run, again: RetrySignature, arguments: dict[str, Any]) -> None:
    """Keep the arguments that the task gave to its retry, if any, for the next attempt."""
    if again.args is None and again.kwargs is None:
        return
    if _has_secrets(run):
        message = (
            "A task with secrets is retried with the same arguments: a checkpoint is in clear."
        )
        raise Fail("retry_invalid", message)
    try:
        bound = inspect.signature(task.run).bind(*(again.args or ()), **(again.kwargs or {}))
        run.checkpoint = to_jsonable_python(bound.arguments, fallback=_file_id)
    except (TypeError, ValueError) as error:
        raise Fail("retry_invalid", f"The retry's arguments cannot be kept: {error}") from error


def _has_secrets(run: Run) -> bool:
    return run.task_type in catalog.registry.with_secrets


def _file_id(value: Any) -> int:
    """What is kept of a file. Raises TypeError for another value that is not JSON."""
    if not isinstance(value, InputFile):
        raise TypeError(f"{type(value).__name__} is not JSON")
    return value.id


def _seconds(task: Any, run: Run, again: RetrySignature) -> float:
    if again.eta is not None:
        eta = maybe_make_aware(again.eta, task.app.timezone)
        return float((eta - run.now()).total_seconds())
    return float(again.countdown or 0)


def _reason(error: Any) -> str:
    """The exception for which a task retries, as text."""
    cause = getattr(error, "exc", error)
    return f"{type(cause).__name__}: {cause}" if isinstance(cause, BaseException) else ""


def _ignored(backend: ProgressBackend) -> Any:
    """How a task ends that raised ``Ignore``: as the state says that it has set before, if any."""
    if backend.state in states.EXCEPTION_STATES:
        raise Fail("exception", str(backend.meta))
    return backend.meta if backend.state == states.SUCCESS else None


def _returned(value: Any, declared: Any) -> Any:
    """The result. A task with Celery's ``pydantic=True`` returns its model as a dictionary."""
    is_model = inspect.isclass(declared) and issubclass(declared, BaseModel)
    return declared.model_validate(value) if is_model and isinstance(value, dict) else value
