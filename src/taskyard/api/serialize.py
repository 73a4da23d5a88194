"""Serialize tasks for the API."""

from datetime import UTC, datetime
from typing import Any

from taskyard.core import messages
from taskyard.core.models import Task
from taskyard.core.states import Priority, Status

LABELS = {status.value: status for status in Status}
PRIORITIES = {priority: priority.name.lower() for priority in Priority}


def serialize_task(task: Task) -> dict[str, Any]:
    """A task with the fields of the API in their order; labels in the current language."""
    failed = task.status == Status.ERROR
    message = messages.of_failure(task.error_message)
    return {
        "id": task.id,
        "task_type": task.task_type,
        "input_data": task.input_data,
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
    }


def isoformat_utc(time: datetime | None) -> str | None:
    """ISO 8601 in UTC, with Z."""
    if time is None:
        return None
    return time.astimezone(UTC).isoformat().removesuffix("+00:00") + "Z"
