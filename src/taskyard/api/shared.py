"""What a link shows of a task: the fields that are named here, and no others."""

import re
from datetime import UTC, datetime
from typing import Any

from taskyard.api.json import dumps
from taskyard.api.serialize import LABELS, files_of, isoformat_utc
from taskyard.api.streams import TaskStreams
from taskyard.catalog.files import FORMAT
from taskyard.catalog.task_type import TaskType, UnknownTaskType, registry
from taskyard.core import messages, sharing
from taskyard.core.models import Task
from taskyard.core.sharing import Claim, Share, ShareRefused
from taskyard.core.states import Status
from taskyard.live import asgi
from taskyard.live.asgi import Response, Scope

# Of a file: what its reader needs.
FILE_FIELDS = ("id", "name", "content_type", "size", "sha256")
_BEARER = re.compile(r"bearer +(\S+)", re.IGNORECASE)
# Where the scope of a stream keeps what its token says.
_CLAIM = "taskyard.claim"


def token_of(authorization: str | None) -> str:
    """The token in an ``Authorization`` header. Raises ShareRefused."""
    match = _BEARER.fullmatch((authorization or "").strip())
    if match is None:
        raise ShareRefused
    return match[1]


def serialize_shared(task: Task, share: Share | Claim) -> dict[str, Any]:
    """A task as a link shows it: without input, owner, tags, queue and worker."""
    task_type = _type_of(task)
    failed = task.status == Status.ERROR
    message = messages.of_failure(task.error_message)
    is_hidden = _is_file(task_type) and not share.files
    return {
        "task_type": task.task_type,
        "label": messages.of_type(task_type, task_type.label) if task_type else task.task_type,
        "status": str(task.status),
        "status_label": str(LABELS[task.status].label),
        "progress": task.shown_progress,
        "result": None if failed or is_hidden else task.result,
        "error": {"code": task.error_code, "message": message} if failed else None,
        "created_at": isoformat_utc(task.created_at),
        "started_at": isoformat_utc(task.started_at),
        "finished_at": isoformat_utc(task.finished_at),
        "files": _saved_files(task) if share.files else [],
        "expires_at": isoformat_utc(datetime.fromtimestamp(share.expires_at, UTC)),
    }


class SharedStreams(TaskStreams):
    """The stream of one task for the token of a link."""

    def authenticate(self, scope: Scope, response: Response) -> tuple[Any, float] | None:
        try:
            claim = sharing.decode(token_of(asgi.header(scope, b"authorization")))
        except ShareRefused:
            return None  # it has expired since the view accepted it
        scope[_CLAIM] = claim
        return response.owner

    def task_id(self, scope: Scope) -> int | None:
        claim: Claim = scope[_CLAIM]
        return claim.task_id

    def serialize(self, task: Task, scope: Scope) -> bytes:
        return dumps(serialize_shared(task, scope[_CLAIM]))


def _type_of(task: Task) -> TaskType | None:
    try:
        return registry.get(task.task_type)
    except UnknownTaskType:
        return None


def _is_file(task_type: TaskType | None) -> bool:
    """Whether the result of this type is a file."""
    return task_type is not None and task_type.result_schema.get("format") == FORMAT


def _saved_files(task: Task) -> list[dict[str, Any]]:
    saved = (file for file in files_of(task) if file["role"] == "output")
    return [{name: file[name] for name in FILE_FIELDS} for file in saved]
