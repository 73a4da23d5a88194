"""Taskyard: submit long-running tasks over HTTP, watch them run, get the result.

This is all that an author of task types imports; it loads neither Django nor Celery. Each name is
loaded when it is first asked for, so that the command line, which needs none of them, starts fast.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from taskyard.catalog.run import Cancelled, Fail, Retry, Run, TimedOut
    from taskyard.catalog.task_type import task_type

__version__ = "0.1.0"
__all__ = ["Cancelled", "Fail", "Retry", "Run", "TimedOut", "__version__", "task_type"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    room = "task_type" if name == "task_type" else "run"
    value = getattr(import_module(f"taskyard.catalog.{room}"), name)
    globals()[name] = value
    return value
