"""What apps above core do in the transactions of tasks. They register in ``AppConfig.ready``.

Each is called only for tasks that concern it, so other tasks cost nothing.
"""

from collections.abc import Sequence
from typing import Protocol

from django.core.exceptions import ImproperlyConfigured

from taskyard.core.types import AttemptResult, NewTask, UserId


class FileFollower(Protocol):
    """Follows tasks that use or save files."""

    def submitted(self, owner_id: UserId | None, tasks: Sequence[tuple[int, NewTask]]) -> None:
        """Tasks with ``NewTask.files`` were inserted. Raises InvalidInput for a file they cannot
        use, with the path in the input of the task, or in the bulk if there are several tasks."""

    def kept(self, task_id: int, *, fence: int) -> None:
        """An attempt that has saved files wrote a checkpoint: later attempts go on from there."""

    def ended(self, results: Sequence[AttemptResult]) -> None:
        """Attempts that may have saved files have ended, as they were written."""


_files: FileFollower | None = None


def follow_files(follower: FileFollower) -> None:
    """Register the app of files."""
    global _files
    _files = follower


def with_files(results: Sequence[AttemptResult]) -> list[AttemptResult]:
    """Those of the attempts that may have saved files; none if the app is not installed."""
    if _files is None:
        return []
    return [result for result in results if result.saved_files or result.task.has_files]


def files() -> FileFollower:
    """The app of files. ``core.checks`` demands that it is installed where a task uses files."""
    if _files is None:
        raise ImproperlyConfigured("taskyard.files is not in INSTALLED_APPS")
    return _files
