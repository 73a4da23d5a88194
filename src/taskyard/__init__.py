"""Taskyard: submit long-running tasks over HTTP, watch them run, get the result.

This is all that an author of task types imports; it loads neither Django nor Celery. Each name is
loaded when it is first asked for, so that the command line, which needs none of them, starts fast.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from taskyard.catalog.files import Accepts, InputFile, OutputFile
    from taskyard.catalog.run import Cancelled, Fail, Retry, Run, TimedOut
    from taskyard.catalog.secrets import Secret
    from taskyard.catalog.task_type import task_type

__version__ = "0.1.0"
_MODULES = {
    **dict.fromkeys(("Accepts", "InputFile", "OutputFile"), "files"),
    **dict.fromkeys(("Cancelled", "Fail", "Retry", "Run", "TimedOut"), "run"),
    "Secret": "secrets",
    "task_type": "task_type",
}
__all__ = [
    "Accepts",
    "Cancelled",
    "Fail",
    "InputFile",
    "OutputFile",
    "Retry",
    "Run",
    "Secret",
    "TimedOut",
    "__version__",
    "task_type",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"taskyard.catalog.{_MODULES[name]}"), name)
    globals()[name] = value
    return value
