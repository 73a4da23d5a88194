"""The command `export --mine`: the user's own tasks in the format of the operator's export."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import IO, TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import typer

from taskyard.client.commands.fields import BadField
from taskyard.client.commands.session import command, connect, notice
from taskyard.client.commands.terminal import is_terminal
from taskyard.client.i18n import gettext as _

if TYPE_CHECKING:
    from taskyard.client import Attempt, Client, LogLine, Task

FORMAT, VERSION = "taskyard-export", 1
# Names of the standard output.
STANDARD = ("", "-")
PRIORITIES = {"low": 0, "normal": 1, "high": 2}
# Attempts after which the task goes on; any other is the last, which is on the task itself.
PAST = ("failed", "lost")
AS_SHOWN = (
    *("id", "task_type", "queue", "input_data", "status", "progress", "tags", "retry_of"),
    *("created_at", "run_at", "started_at", "finished_at", "cancel_requested_at", "attempt"),
    "max_attempts",
)


@command
def export(
    file: Annotated[
        str, typer.Argument(metavar="[FILE]", help=_("a new file; default: stdout"))
    ] = "",
    mine: Annotated[
        bool, typer.Option("--mine", help=_("your own tasks, over the API"), show_default=False)
    ] = False,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help=_("continue the file of an interrupted export"), show_default=False
        ),
    ] = False,
    after: Annotated[
        int, typer.Option(metavar="ID", min=0, help=_("only tasks after this one"))
    ] = 0,
) -> None:
    """Write your tasks with their attempts and logs as JSON lines, which an operator can import.

    Without --mine this is a command of the operator, for the whole installation.
    """
    if not mine:
        raise BadField(_("without --mine this is a command of the operator, on the server"))
    if resume and (after or file in STANDARD):
        raise BadField(_("--resume takes a file, and no --after"))
    # In English, which is the language of the record.
    with connect(keep_trying=True, answers_in="en") as client:
        owner, source = client.me().username, _source(client.url)
        with _opened(file, resume=resume) as out:
            if resume:
                after, whole = _position(out, source=source, owner=owner)
                if whole:
                    return
            if not resume or not out.tell():
                _write(out, _header(source))
            count = 0
            for task in client.list(after=after):
                if (line := _line(client, task, owner)) is not None:
                    _write(out, line)
                    count += 1
            _write(out, {"kind": "end"})
    notice(_("Tasks exported: %(count)s") % {"count": count})


def _source(url: str) -> str:
    """The name of the server, without the password that a URL may have."""
    parts = urlsplit(url)
    return f"{parts.netloc.rpartition('@')[2]}{parts.path}"


def _header(source: str) -> dict[str, Any]:
    return {
        "kind": "header",
        "format": FORMAT,
        "version": VERSION,
        "source": source,
        "exported_at": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
        "secrets": False,
    }


def _line(client: "Client", task: "Task", owner: str) -> dict[str, Any] | None:
    """A task as a line; None if it was deleted meanwhile."""
    from taskyard.client import NotFound

    attempts: list[Attempt] = []
    log: list[LogLine] = []
    try:
        if task.omitted:
            task = client.get(task.id)
        if task.attempt:
            attempts = [each for each in client.attempts(task.id) if each.number <= task.attempt]
            log = [*client.logs(task.id)]
    except NotFound:
        return None
    last = attempts[-1] if attempts and attempts[-1].outcome not in PAST else None
    error = task.error or (last.error if last is not None and task.ended else None)
    return {
        "kind": "task",
        "owner": owner,
        **{name: task.raw[name] for name in AS_SHOWN},
        "result": task.result if task.succeeded else None,
        "error": error and {"code": error.code, "message": error.message},
        "priority": PRIORITIES[task.priority],
        "claimed_at": last and last.raw["started_at"],
        "traceback": last and _traceback(last),
        "attempts": [_attempt(each) for each in attempts if each is not last],
        "log": [{**each.raw, "level": each.level or ""} for each in log],
    }


def _attempt(attempt: "Attempt") -> dict[str, Any]:
    return {
        **{name: attempt.raw[name] for name in ("number", "started_at", "ended_at")},
        "error": attempt.raw["error"] or {"code": "", "message": ""},
        "traceback": _traceback(attempt),
    }


def _traceback(attempt: "Attempt") -> dict[str, str] | None:
    if attempt.traceback is None:
        return None
    return {"exception_type": "", "location": "", "text": attempt.traceback}


def _write(out: IO[bytes], line: dict[str, Any]) -> None:
    # A terminal obeys some characters that JSON does not escape.
    text = json.dumps(line, ensure_ascii=is_terminal(out), separators=(",", ":"))
    out.write(text.encode() + b"\n")


@contextmanager
def _opened(name: str, *, resume: bool) -> Iterator[IO[bytes]]:
    if name in STANDARD:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    if resume:
        with open(name, "r+b") as file:
            yield file
        return
    try:
        created = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        message = _("%(file)s: this file exists; --resume continues an interrupted export")
        raise BadField(message % {"file": name}) from None
    with os.fdopen(created, "wb") as file:
        yield file


def _position(out: IO[bytes], *, source: str, owner: str) -> tuple[int, bool]:
    """Cut off an incomplete last line; the id of the last task, and whether the file is whole."""
    first = last = b""
    size = 0
    for raw in out:
        if not raw.endswith(b"\n"):
            break
        first = first or raw
        last = raw
        size += len(raw)
    header, line = (_parsed(raw) for raw in (first or b"{}", last or b"{}"))
    owners = {owner, line.get("owner", owner)}
    if first and (header.get("format") != FORMAT or header.get("source") != source):
        raise BadField(_("this is no export of %(source)s") % {"source": source})
    if len(owners) > 1:
        raise BadField(_("this is an export of another user"))
    out.truncate(size)
    out.seek(size)
    return int(line.get("id", 0)), line.get("kind") == "end"


def _parsed(raw: bytes) -> dict[str, Any]:
    try:
        value = json.loads(raw)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
