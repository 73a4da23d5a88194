"""The backend: it checks a call and makes a task of it, in the caller's transaction.

A module with tasks may be imported before Django has loaded its apps, so the models are imported
when a task is enqueued or read.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, get_type_hints

from django.core.checks import CheckMessage

from taskyard.catalog.schema import types_in
from taskyard.catalog.secrets import Secret
from taskyard.catalog.task_type import NAME
from taskyard.contrib.django_tasks import declarations
from taskyard.contrib.django_tasks.framework import (
    BaseTaskBackend,
    InvalidTask,
    Task,
    TaskResult,
    task_enqueued,
)

MOST_ATTEMPTS = 10
KEY_LENGTH = 254


@dataclass(frozen=True, kw_only=True)
class TaskyardTask(Task):
    """A Django task with Taskyard's options; None is the backend's default.

    Without an owner it is a system task. Two calls with the same ``key`` and the same arguments
    make one task, for 24 hours.
    """

    max_attempts: int | None = None
    owner_id: Any = None
    key: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        declarations.declare(self)

    def using(
        self,
        *,
        owner: Any = None,
        key: str | None = None,
        max_attempts: int | None = None,
        **changes: Any,
    ) -> "TaskyardTask":
        """A new task with other options; ``owner`` is a saved user or the primary key of one."""
        owner_id = getattr(owner, "pk", owner)
        if owner is not None and owner_id is None:
            raise ValueError("The owner has no primary key: the user is anonymous or not saved.")
        own = {"owner_id": owner_id, "key": key, "max_attempts": max_attempts}
        given = {name: value for name, value in own.items() if value is not None}
        return replace(super().using(**changes), **given)  # type: ignore[return-value]


class TaskyardBackend(BaseTaskBackend):
    """Stores Django tasks as tasks of Taskyard; its workers run them.

    ``OPTIONS``: ``MAX_ATTEMPTS`` (1), ``ALIASES`` (``{"old.path": "new.path"}``, of modules or of
    tasks that were renamed).
    """

    task_class = TaskyardTask
    supports_defer = True
    supports_async_task = True
    supports_get_result = True
    supports_priority = True

    @property
    def aliases(self) -> Mapping[str, str]:
        """The paths that tasks have now, by those that they had before."""
        aliases: Mapping[str, str] = self.options.get("ALIASES", {})
        return aliases

    def max_attempts_of(self, task: Task) -> int:
        """How often a task may run."""
        own = getattr(task, "max_attempts", None)
        attempts: int = self.options.get("MAX_ATTEMPTS", 1) if own is None else own
        return attempts

    def validate_task(self, task: Task) -> None:
        """Raise InvalidTask if Taskyard cannot run the task."""
        super().validate_task(task)
        _refuse_secrets(task.func)
        if not NAME.fullmatch(task.queue_name):
            raise InvalidTask(
                f"Queue {task.queue_name!r}: lower-case letters, digits, - and _, at most 50."
            )
        attempts = self.max_attempts_of(task)
        if type(attempts) is not int or not 1 <= attempts <= MOST_ATTEMPTS:
            raise InvalidTask(f"max_attempts must be a whole number between 1 and {MOST_ATTEMPTS}.")
        key = getattr(task, "key", None)
        if key is not None and not (
            isinstance(key, str)
            and key.isascii()
            and key.isprintable()
            and 1 <= len(key) <= KEY_LENGTH
        ):
            raise InvalidTask(f"key must be 1 to {KEY_LENGTH} printable ASCII characters.")

    def enqueue(  # type: ignore[override]  # the base class has a type for each task
        self, task: Task, args: Sequence[Any], kwargs: dict[str, Any]
    ) -> TaskResult:
        """Insert the task; a rollback of the caller's transaction removes it.

        Raises InvalidTask; TypeError if the function does not take these arguments; TypeError or
        ValueError if they are not JSON; QuotaExceeded if the owner's quota does not allow it.
        """
        from taskyard.contrib.django_tasks import record

        self.validate_task(task)
        declarations.declare(task)
        context = (None,) if task.takes_context else ()
        _signature(task.func).bind(*context, *args, **kwargs)
        result, is_new = record.submit(self, task, args, kwargs)
        if is_new:
            task_enqueued.send(type(self), task_result=result)
        return result

    def get_result(self, result_id: str) -> TaskResult:
        """Read a task. Raises TaskResultDoesNotExist; ImportError if its function is gone."""
        from taskyard.contrib.django_tasks import record

        row = record.find(result_id)
        return record.result_of(row, declarations.find(row.task_type), self)

    def check(self, **kwargs: Any) -> Iterable[CheckMessage]:  # type: ignore[override]
        """What is wrong with the settings, and which tasks no worker imports."""
        from taskyard.contrib.django_tasks import checks

        yield from super().check(**kwargs)
        yield from checks.check(self)


@lru_cache(maxsize=1000)
def _refuse_secrets(function: Callable[..., Any]) -> None:
    """Raise InvalidTask if a parameter is a secret: arguments of Django tasks are kept in clear."""
    try:
        hints = get_type_hints(function, include_extras=True)
    except Exception:  # names that are not there yet, or only for type checkers
        hints = inspect.get_annotations(function)
    if any(Secret in types_in(hint) for hint in hints.values()):
        raise InvalidTask(
            f"{function.__qualname__} takes a Secret, but the arguments of Django tasks are kept "
            "in clear: declare it with taskyard.task_type, and submit it with taskyard.jobs."
        )


@lru_cache(maxsize=1000)
def _signature(function: Callable[..., Any]) -> inspect.Signature:
    return inspect.signature(function)
