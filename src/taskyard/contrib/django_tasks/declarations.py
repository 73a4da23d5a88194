"""The task types of Django tasks: one of each, named by the path of its function.

``@task`` declares a type when its module is imported. Workers import the modules named ``tasks`` of
the installed apps at their start, and other modules when they meet a task of theirs.
"""

import logging
import pkgutil
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import import_module
from types import ModuleType
from typing import Any

from django.apps import apps
from django.utils.module_loading import import_string, module_has_submodule

from taskyard.catalog.run import Run
from taskyard.catalog.schema import Signature
from taskyard.catalog.task_type import PATH, TaskType, registry
from taskyard.contrib.django_tasks import execution
from taskyard.contrib.django_tasks.framework import (
    BaseTaskBackend,
    InvalidTask,
    InvalidTaskBackend,
    Task,
    task_backends,
)

MODULE = "tasks"
# A name that was not found is looked up again after so long.
RETRY_SECONDS = 60.0
RENAMED = "If it was renamed, put both paths into the option ALIASES."
logger = logging.getLogger(__name__)

# The declared tasks by their names, former names too.
_declared: dict[str, Task] = {}
_not_found_at: dict[str, float] = {}
# What workers know from their start.
known_at_start: frozenset[str] = frozenset()
# Why a module of tasks was not imported, by the name of the module.
failures: dict[str, str] = {}


@dataclass(frozen=True)
class DjangoTaskType(TaskType):
    """The type of one Django task. Its input is ``{"args": [], "kwargs": {}}``."""

    @cached_property
    def signature(self) -> Signature:
        return _signature()


@cache
def _signature() -> Signature:
    """One for all, because to read a signature takes a millisecond."""

    def arguments(run: Run, args: list[Any], kwargs: dict[str, Any]) -> Any: ...

    return Signature(arguments)


def declare(task: Task) -> None:
    """Register the type of a task, unless it is registered. Raises InvalidTask, ValueError."""
    name = task.module_path
    known = _declared.get(name)
    if known is not None and known.func is task.func:
        return
    if task.func.__module__ == "__main__":
        raise InvalidTask(f"{name}: workers cannot import what a script declares.")
    if not PATH.fullmatch(name):
        raise InvalidTask(f"{name}: not a path by which workers import a task, or too long.")
    for each in (name, *_former_names(task)):
        registry.add(_type_of(task, each))
        _declared[each] = task


def _type_of(task: Task, name: str) -> TaskType:
    doc = (task.func.__doc__ or "").strip()
    return DjangoTaskType(
        name=name,
        handler=execution.handler_of(task),
        label=task.name.replace("_", " ").strip().capitalize(),
        description=doc.split("\n\n")[0].replace("\n", " "),
        queue=task.queue_name,
        internal=True,
    )


def _former_names(task: Task) -> Iterator[str]:
    name = task.module_path
    for former, current in _aliases(task.get_backend()).items():
        if name == current or name.startswith(f"{current}."):
            yield former + name[len(current) :]


def _aliases(backend: Any) -> dict[str, str]:
    return dict(getattr(backend, "aliases", {}))


def find(name: str) -> Task:
    """The task of this name, now or before; imports its module. Raises ImportError."""
    if name in _declared:
        return _declared[name]
    try:
        found = import_string(_current_name(name))
    except ImportError as error:
        raise ImportError(f"The task {name} cannot be imported: {error}. {RENAMED}") from error
    if isinstance(found, Task):  # type: ignore[misc]
        declare(found)
    if name not in _declared:
        raise ImportError(f"{name} is not a task. {RENAMED}")
    return _declared[name]


def backends() -> Iterator[BaseTaskBackend]:
    """The backends in ``TASKS`` that can be imported."""
    for alias in task_backends:
        with suppress(InvalidTaskBackend):  # Django says so when it is used
            yield task_backends[alias]


def _current_name(name: str) -> str:
    for backend in backends():
        for former, current in _aliases(backend).items():
            if name == former or name.startswith(f"{former}."):
                return current + name[len(former) :]
    return name


def resolve(name: str) -> bool:
    """Import the module of a task, for a worker that meets the name; whether it is known now."""
    if time.monotonic() - _not_found_at.get(name, -RETRY_SECONDS) < RETRY_SECONDS:
        return False
    try:
        find(name)
    except Exception as error:  # of the author's module
        _not_found_at[name] = time.monotonic()
        logger.warning("task type not found: %s", error, extra={"task_type": name})
        return False
    return True


def discover() -> None:
    """Import ``tasks`` of each installed app, a module or a package with all its modules.

    A module that cannot be imported is left out: it may be of another library, for Celery.
    """
    for app in apps.get_app_configs():
        if app.module is not None and module_has_submodule(app.module, MODULE):
            name = f"{app.name}.{MODULE}"
            folders = getattr(_import(name), "__path__", ())
            for info in pkgutil.walk_packages(folders, f"{name}.", onerror=lambda package: None):
                _import(info.name)
    global known_at_start
    known_at_start = frozenset(_declared)


def _import(name: str) -> ModuleType | None:
    try:
        return import_module(name)
    except Exception as error:
        failures[name] = repr(error)
        logger.warning("tasks not imported: %s", f"{name}: {failures[name]}", extra={"at": name})
        return None


def late() -> list[str]:
    """The declared tasks that workers do not know from their start."""
    return sorted({task.module_path for task in _declared.values()} - known_at_start)
