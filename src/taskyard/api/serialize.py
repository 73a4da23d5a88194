"""Serialize tasks for the API."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from taskyard.core import messages
from taskyard.core.models import Task
from taskyard.core.states import Priority, Status

if TYPE_CHECKING:
    from taskyard.files.models import StoredFile

LABELS = {status.value: status for status in Status}
# Where a task keeps its serialized files.
_LOADED = "_serialized_files"
PRIORITIES = {priority: priority.name.lower() for priority in Priority}


def serialize_task(task: Task, subject: str | None = None) -> dict[str, Any]:
    """A task with the fields of the API in their order; labels in the current language.

    ``subject`` is added for a service account that acts on behalf of it.
    """
    failed = task.status == Status.ERROR
    message = messages.of_failure(task.error_message)
    serialized = {
        "id": task.id,
        "task_type": task.task_type,
        "input_data": task.shown_input,
        "status": str(task.status),
        "result": {"error": message} if failed else task.result,
        "created_at": isoformat_utc(task.created_at),
        "status_label": str(LABELS[task.status].label),
        "priority": PRIORITIES[Priority.nearest(task.priority)],
        "queue": task.queue,
        "progress": task.shown_progress,
        "attempt": task.attempt,
        "max_attempts": task.max_attempts,
        "error": {
            "code": task.error_code,
            "message": message,
            "attempt": task.attempt,
        }
        if failed
        else None,
        "run_at": isoformat_utc(task.run_at),
        "started_at": isoformat_utc(task.started_at),
        "finished_at": isoformat_utc(task.finished_at),
        "cancel_requested_at": isoformat_utc(task.cancel_requested_at),
        "retry_of": task.retry_of_id,
        "tags": task.tags,
        "files": files_of(task),
    }
    return serialized if subject is None else {**serialized, "subject": subject}


def load_files(tasks: Sequence[Task]) -> None:
    """Look up the files of these tasks at once, for ``serialize_task``."""
    with_files = [task for task in tasks if task.has_files]
    if not with_files:
        return
    # A project may have no files, and then their models cannot be imported.
    from taskyard.files import records

    found = records.of_tasks(with_files)
    for task in with_files:
        task.__dict__[_LOADED] = [
            serialize_file(entry.file, role=entry.role) for entry in found[task.pk]
        ]


def serialize_file(file: "StoredFile", *, role: str | None = None) -> dict[str, Any]:
    """A file with the fields of the API; those of a task name its role there."""
    return {
        "id": file.pk,
        "name": file.name,
        "role": role or str(file.role),
        "content_type": file.content_type,
        "size": file.size,
        "sha256": file.sha256,
        "created_at": isoformat_utc(file.created_at),
        "expires_at": isoformat_utc(file.expires_at),
    }


def files_of(task: Task) -> list[dict[str, Any]]:
    """The serialized files of a task, which are looked up once."""
    if not task.has_files:
        return []
    if _LOADED not in task.__dict__:
        load_files([task])
    files: list[dict[str, Any]] = task.__dict__[_LOADED]
    return files


def isoformat_utc(time: datetime | None) -> str | None:
    """ISO 8601 in UTC, with Z."""
    if time is None:
        return None
    return time.astimezone(UTC).isoformat().removesuffix("+00:00") + "Z"
