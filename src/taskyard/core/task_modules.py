"""Loads the modules in which authors declare task types, and says in one line what is wrong."""

import os
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from django.apps import apps
from django.utils.module_loading import autodiscover_modules

NAME = "task_types"
# By its name, so that a project without Django tasks does not import it.
DJANGO_TASKS = "taskyard.contrib.django_tasks"
_OURS = str(Path(__file__).parent.parent) + os.sep
_LIBRARIES = tuple(sysconfig.get_path(name) + os.sep for name in ("stdlib", "purelib", "platlib"))


class UnusableModule(Exception):
    """A module of task types cannot be loaded. The message is one line for its author."""


def load(modules: Iterable[str]) -> None:
    """Import `task_types` of the installed apps, then these modules. Raises UnusableModule."""
    _guarded(NAME, lambda: autodiscover_modules(NAME))
    for module in modules:
        _guarded(module, partial(import_module, module))


def of_django_tasks(settings: Any) -> list[str]:
    """The module that makes Django tasks known, if ``TASKS`` has a backend of ours."""
    backends = (getattr(settings, "TASKS", None) or {}).values()
    ours = any(str(each.get("BACKEND")).startswith(f"{DJANGO_TASKS}.") for each in backends)
    return [f"{DJANGO_TASKS}.task_types"] if ours else []


def _guarded(module: str, load_it: Callable[[], object]) -> None:
    try:
        load_it()
    except (KeyboardInterrupt, UnusableModule):
        raise
    except BaseException as error:  # also a module that calls sys.exit()
        raise UnusableModule(_described(module, error)) from error


def _described(module: str, error: BaseException) -> str:
    if isinstance(error, ModuleNotFoundError) and _is_or_holds(error.name, module):
        return (
            f"{_setting()}: there is no module {error.name}; "
            "looked for in the current folder, on PYTHONPATH, and among what is installed"
        )
    words = (str(error).strip().splitlines() or [""])[0]
    said = f"{type(error).__name__}: {words}" if words else type(error).__name__
    if isinstance(error, SyntaxError) and error.filename:
        said = f"{type(error).__name__}: {error.msg}"
        place: str | None = f"{error.filename}, line {error.lineno}"
    else:
        place = _place(error)
    hint = "; install it where Taskyard is installed" if isinstance(error, ImportError) else ""
    return f"task types cannot be loaded: {place or module}: {said}{hint}"


def _setting() -> str:
    """The setting that names the modules, as its author wrote it."""
    own = apps.is_installed("taskyard.server")
    return "TASKYARD_TASK_TYPES" if own else "TASKYARD['TASK_TYPES']"


def _is_or_holds(name: str | None, module: str) -> bool:
    return name is not None and (name == module or module.startswith(f"{name}."))


def _place(error: BaseException) -> str | None:
    """The innermost line of the author's own code."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if _is_an_authors(frame.filename)]
    return f"{own[-1].filename}, line {own[-1].lineno}" if own else None


def _is_an_authors(file: str) -> bool:
    return Path(file).exists() and not file.startswith((_OURS, *_LIBRARIES, sys.prefix + os.sep))
