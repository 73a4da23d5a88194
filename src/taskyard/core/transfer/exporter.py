"""Export the record: all lines from one snapshot, in the order of ``KEYS``, in bounded memory."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import groupby
from operator import itemgetter
from typing import IO, Any

import orjson
from django.contrib.auth import get_user_model
from django.db import connection, transaction
from django.db.models import F, QuerySet, TextField
from django.db.models.functions import Cast

from taskyard.core import encryption
from taskyard.core.installation import installation_id
from taskyard.core.models import (
    Attempt,
    AttemptTraceback,
    AuditEntry,
    LogLine,
    PausedQueue,
    Quota,
    Task,
)
from taskyard.core.transfer.files import FilesOf, OutgoingFiles
from taskyard.core.transfer.lines import (
    FORMAT,
    KEYS,
    RAW,
    VERSION,
    VERSION_WITH_FILES,
    Position,
    UserLine,
)

# Rows that the database sends at a time.
CHUNK = 200

Rows = Iterable[dict[str, Any]]


def export(
    out: IO[bytes],
    *,
    after: Position | None = None,
    header: bool = True,
    secrets: bool = False,
    files: OutgoingFiles | None = None,
) -> Counter[str]:
    """Write the record, or what comes after a place; the number of lines of each kind.

    ``secrets`` includes the hashes of passwords, and the secrets of inputs, encrypted as they are
    stored; otherwise these are dots. Without ``files`` they are left out. All lines show the
    database at one moment: a REPEATABLE READ transaction on PostgreSQL, a read transaction on
    SQLite. Writers do not wait.
    """
    source = installation_id()
    written: Counter[str] = Counter()
    kinds = list(KEYS)
    with _snapshot():
        if header:
            version = VERSION if files is None else VERSION_WITH_FILES
            first = {"format": FORMAT, "version": version, "source": source, "secrets": secrets}
            if files is not None:
                first["files"] = True
            _write(out, "header", {**first, "exported_at": datetime.now(UTC)})
        for kind in kinds[kinds.index(after.kind) if after else 0 :]:
            key = after.key if after and after.kind == kind else None
            for row in _rows(kind, key, secrets=secrets, files=files):
                _write(out, kind, row)
                written[kind] += 1
    _write(out, "end", {})
    return written


def _rows(kind: str, key: str | int | None, *, secrets: bool, files: OutgoingFiles | None) -> Rows:
    if kind == "user":
        return _users(key, secrets=secrets)
    beyond_id = int(key or 0) if kind in ("file", "task") else 0
    if kind == "file":
        return [] if files is None else files.rows(beyond_id)
    if kind == "task":
        of_tasks = None if files is None else files.of_tasks(beyond_id)
        return _tasks(key, of_tasks, secrets=secrets)
    return _SECTIONS[kind](key)


def _write(out: IO[bytes], kind: str, row: dict[str, Any]) -> None:
    out.write(orjson.dumps({"kind": kind, **row}, option=orjson.OPT_UTC_Z) + b"\n")


@contextmanager
def _snapshot() -> Iterator[None]:
    """Read the database as it is at one moment, for as long as it takes."""
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            # Not Django's transaction, which would be IMMEDIATE and keep writers out.
            cursor.execute("BEGIN")
        try:
            yield
        finally:
            with connection.cursor() as cursor:
                cursor.execute("COMMIT")
        return
    # A pooler in transaction mode keeps the session of a transaction, so cursors work here.
    disabled = connection.settings_dict.get("DISABLE_SERVER_SIDE_CURSORS", False)
    connection.settings_dict["DISABLE_SERVER_SIDE_CURSORS"] = False
    try:
        with transaction.atomic(durable=True):
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
                for name in ("statement_timeout", "idle_in_transaction_session_timeout"):
                    cursor.execute("SELECT set_config(%s, '0', true)", [name])
            yield
    finally:
        connection.settings_dict["DISABLE_SERVER_SIDE_CURSORS"] = disabled


def stream(rows: QuerySet[Any], *order: str, **columns: Any) -> Rows:
    """The rows in this order, without holding them all; each as a dict of the named columns."""
    found = rows.order_by(*order).values_list(*columns.values())
    return (dict(zip(columns, values, strict=True)) for values in found.iterator(chunk_size=CHUNK))


def beyond(name: str, key: str | int | None) -> dict[str, Any]:
    return {} if key is None else {f"{name}__gt": key}


def _text(name: str) -> Cast:
    """A JSON column as its text."""
    return Cast(name, TextField())


def _json(text: str | None) -> orjson.Fragment | None:
    # JSON has line feeds between values only.
    return None if text is None else orjson.Fragment(text.replace("\n", " "))


def user_name(relation: str) -> F:
    return F(f"{relation}__{get_user_model().USERNAME_FIELD}")


def _users(key: str | int | None, *, secrets: bool) -> Rows:
    model = get_user_model()
    name = model.USERNAME_FIELD
    # A host's model of users may have few of them.
    fields = UserLine.model_fields.keys() & {field.name for field in model._meta.concrete_fields}
    fields -= {name, "username"} if secrets else {name, "username", "password"}
    columns = {field: field for field in UserLine.model_fields if field in fields}
    users = model._default_manager.filter(**beyond(name, key))
    return stream(users, name, username=F(name), **columns)


def _quotas(key: str | int | None) -> Rows:
    name = f"user__{get_user_model().USERNAME_FIELD}"
    quotas = Quota.objects.filter(active_limit__isnull=False, **beyond(name, key))
    return stream(quotas, name, username=F(name), active_limit="active_limit")


def _queues(key: str | int | None) -> Rows:
    queues = PausedQueue.objects.filter(**beyond("name", key))
    by = user_name("paused_by")
    return stream(queues, "name", name="name", paused_at="paused_at", paused_by=by)


def _tasks(key: str | int | None, files_of: FilesOf | None, *, secrets: bool) -> Rows:
    attempts = of_each_task(
        Attempt.objects,
        "fence",
        key,
        "number",
        "started_at",
        "ended_at",
        "error_code",
        "error_message",
    )
    tracebacks = of_each_task(
        AttemptTraceback.objects, "fence", key, "exception_type", "location", "text"
    )
    log = of_each_task(LogLine.objects, "id", key, "attempt", "at", "level", "message", "dropped")
    tasks = Task.objects.filter(**beyond("id", key))
    for row in stream(tasks, "id", **_task_columns()):
        if not secrets:
            row["input_data"] = encryption.shown_text(row["task_type"], row["input_data"])
        for name in RAW:
            row[name] = _json(row[name])
        row["error"] = _error(row)
        of_fence = {part.pop("fence"): part for part in tracebacks(row["id"])}
        last = of_fence.get(row.pop("fence"))
        past = attempts(row["id"])
        for part in past:
            part["error"] = _error(part) or {"code": "", "message": ""}
            part["traceback"] = of_fence.get(part.pop("fence"))
        if past and past[-1]["traceback"] is last:
            last = None  # the task waits for its next attempt
        said = log(row["id"])
        for part in said:
            del part["id"]
        files = {} if files_of is None else files_of(row["id"])
        yield {**row, "traceback": last, "attempts": past, "log": said, **files}


def _task_columns() -> dict[str, Any]:
    plain = (
        *("task_type", "queue", "input_data", "status", "result", "error_code", "error_message"),
        *("progress", "tags", "priority", "timeout_seconds", "created_at", "run_at", "started_at"),
        *("claimed_at", "finished_at", "cancel_requested_at", "attempt", "max_attempts", "fence"),
        *("wake_at", "resumes", "slept", "checkpoint"),
    )
    return {
        "id": "id",
        "owner": user_name("owner"),
        **{name: _text(name) if name in RAW else name for name in plain},
        "retry_of": "retry_of_id",
        "cancel_requested_by": user_name("cancel_requested_by"),
    }


def _error(row: dict[str, Any]) -> dict[str, str] | None:
    """Take the columns of the error out of a row."""
    code, message = row.pop("error_code"), row.pop("error_message")
    return {"code": code, "message": message} if code or message else None


def of_each_task(
    found: Any, order: str, key: str | int | None, *names: str
) -> Callable[[int], list[dict[str, Any]]]:
    """A function that returns the rows of a task; it must be called in the order of tasks."""
    columns = {name: name for name in ("task_id", order, *names)}
    rows = stream(found.filter(**beyond("task_id", key)), "task_id", order, **columns)
    groups = groupby(rows, key=itemgetter("task_id"))
    group = next(groups, None)

    def of_task(task_id: int) -> list[dict[str, Any]]:
        nonlocal group
        if group is None or group[0] != task_id:
            return []
        found = list(group[1])
        for row in found:
            del row["task_id"]
        group = next(groups, None)
        return found

    return of_task


def _audit(key: str | int | None) -> Rows:
    names = ("id", "at", "by_name", "action", "target", "address", "details")
    columns = {name: name for name in names}
    entries = AuditEntry.objects.filter(**beyond("id", key))
    for row in stream(entries, "id", **columns, by=user_name("by")):
        # PostgreSQL's jsonb does not keep the order of keys.
        details = orjson.dumps(row["details"], option=orjson.OPT_SORT_KEYS)
        yield {**row, "details": orjson.Fragment(details)}


_SECTIONS: dict[str, Callable[[str | int | None], Rows]] = {
    "quota": _quotas,
    "queue": _queues,
    "audit": _audit,
}
