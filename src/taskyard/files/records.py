"""Look files up: those of a user, and those of tasks."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from django.db.models import QuerySet

from taskyard.core.models import Task
from taskyard.core.types import UserId
from taskyard.files.models import FileUse, Role, State, StoredFile


@dataclass(frozen=True)
class TaskFile:
    """A file of a task, and whether the task uses it (input) or has saved it (output)."""

    file: StoredFile
    role: str


def owned_by(owner_id: UserId) -> "QuerySet[StoredFile]":
    """The ready files of this user; other users do not see that they exist."""
    ready = StoredFile.objects.filter(state=State.READY)
    return ready.none() if owner_id is None else ready.filter(owner_id=owner_id)


def uploads_of(owner_id: UserId) -> "QuerySet[StoredFile]":
    """The uploads of this user, whole or not."""
    uploads = StoredFile.objects.filter(role=Role.INPUT, state__in=(State.WRITING, State.READY))
    return uploads.none() if owner_id is None else uploads.filter(owner_id=owner_id)


def ids_of_task(owner_id: UserId, task_id: int) -> list[int]:
    """The ids of the files that a task of this owner uses or has saved."""
    task = Task.objects.get_owned(owner_id, task_id)
    return [] if task is None else [entry.file.pk for entry in of_tasks([task])[task.pk]]


def saved_by(task: Task) -> "QuerySet[StoredFile]":
    """The ready files that a task has saved."""
    return StoredFile.objects.filter(task=task, role=Role.OUTPUT, state=State.READY)


def of_tasks(tasks: Iterable[Task]) -> dict[int, list[TaskFile]]:
    """The files by the task's id: inputs first, then outputs, by ascending id.

    Two queries for all tasks that have files; none if no task has any.
    """
    ids = [task.pk for task in tasks if task.has_files]
    found: dict[int, list[TaskFile]] = defaultdict(list)
    if not ids:
        return found
    uses = FileUse.objects.filter(task__in=ids, file__state=State.READY).select_related("file")
    for use in uses.order_by("file_id"):
        if use.task_id is not None:
            found[use.task_id].append(TaskFile(use.file, "input"))
    for file in StoredFile.objects.filter(task__in=ids, state=State.READY).order_by("pk"):
        if file.task_id is not None:
            found[file.task_id].append(TaskFile(file, "output"))
    return found
