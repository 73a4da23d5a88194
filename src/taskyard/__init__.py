"""Taskyard: submit long-running tasks over HTTP, watch them run, get the result.

This is all that an author of task types imports; it loads neither Django nor Celery.
"""

from taskyard.catalog.run import Cancelled, Fail, Retry, Run, TimedOut
from taskyard.catalog.task_type import task_type

__version__ = "0.1.0"
__all__ = ["Cancelled", "Fail", "Retry", "Run", "TimedOut", "__version__", "task_type"]
