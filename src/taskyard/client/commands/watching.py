"""Waiting for a task to end, with a bar on a terminal, and what its end means."""

import sys
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer

from taskyard.client.commands import output
from taskyard.client.commands.session import INTERRUPTED, TASK_FAILED, say
from taskyard.client.commands.terminal import escaped, is_terminal, json_text, put
from taskyard.client.i18n import gettext as _

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from taskyard.client import Client, Task

# Servers that cannot stream say so: WSGI ones, and proxies that know nothing of it.
NO_STREAM = (404, 405, 406, 501)
POLL_SECONDS = 1.0


def until_ended(client: "Client", task: "Task", *, bar: bool) -> "Task":
    """The task when it has ended. Ctrl-C stops the watching, not the task."""
    try:
        if not bar:
            return client.wait(task.id)
        if not is_terminal(sys.stderr):
            return deque(told(client, task.id), maxlen=1).pop()
        return _with_bar(client, task)
    except KeyboardInterrupt:
        say(_("Task %(id)s goes on: taskyard watch %(id)s") % {"id": task.id})
        raise typer.Exit(INTERRUPTED) from None


def told(client: "Client", task_id: int) -> Iterator["Task"]:
    """The task at each of its changes: from the stream, or by asking where there is none."""
    from taskyard.client import ApiError, WaitTimeout

    task = client.get(task_id)
    yield task
    try:
        for event in client.stream(task_id):
            yield event.task
        return
    except ApiError as error:
        if error.status not in NO_STREAM:
            raise
    while not task.ended:
        try:
            task = client.wait(task_id, timeout=POLL_SECONDS)
        except WaitTimeout:
            task = client.get(task_id)
        yield task


def finish(task: "Task", *, as_json: bool) -> None:
    """Print how the task ended. Raises Exit where that is not well."""
    if as_json:
        output.as_json(task.raw)
    elif task.succeeded:
        put(json_text(task.result))
    elif task.error is not None:
        say(f"{task.status_label}: {task.error.code}: {task.error.message}")
    else:
        say(task.status_label)
    if not task.succeeded:
        raise typer.Exit(TASK_FAILED)


def _with_bar(client: "Client", task: "Task") -> "Task":
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.fields[name]}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[state]}", markup=False),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as shown:
        line = shown.add_task("", total=None, name=f"{task.id} {task.task_type}", state="")
        for now in told(client, task.id):
            _show(shown, line, now)
    return now


def _show(shown: "Progress", line: "TaskID", task: "Task") -> None:
    progress = task.progress
    total = progress.total if progress else None
    current = progress.current if progress else None
    parts = [task.status_label]
    if task.attempt > 1:
        parts.append(_("attempt %(number)s") % {"number": task.attempt})
    if progress and progress.percent is not None:
        parts.append(f"{progress.percent:g}%")
    if progress and progress.message:
        parts.append(progress.message)
    if task.succeeded and total is None:
        total = current = 1  # a bar that was never told of a total is full all the same
    shown.update(
        line,
        total=total,
        completed=current or 0,
        state=escaped(" · ".join(parts).replace("\n", " ")),
    )
