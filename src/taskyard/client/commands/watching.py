"""Wait for a task to end, with a progress bar on a terminal, and print its outcome."""

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer

from taskyard.client.commands import output
from taskyard.client.commands.session import INTERRUPTED, TASK_FAILED, notice
from taskyard.client.commands.terminal import echo, escape, is_terminal, json_text
from taskyard.client.i18n import gettext as _

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from taskyard.client import Client, Task

# Statuses of a server or proxy without event streams, such as a WSGI server.
NO_STREAM = (404, 405, 406, 501)
POLL_SECONDS = 1.0


def wait_until_done(client: "Client", task: "Task", *, bar: bool) -> "Task":
    """Wait until the task has ended. Ctrl-C stops the command, not the task."""
    try:
        if not bar:
            return client.wait(task.id)
        if not is_terminal(sys.stderr):
            for update in iter_updates(client, task.id):
                task = update
            return task
        return _with_bar(client, task)
    except KeyboardInterrupt:
        notice(_("Task %(id)s continues: taskyard watch %(id)s") % {"id": task.id})
        raise typer.Exit(INTERRUPTED) from None


def iter_updates(client: "Client", task_id: int) -> Iterator["Task"]:
    """Yield the task after each change: from the stream, or by polling if there is no stream."""
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


def print_outcome(task: "Task", *, as_json: bool) -> None:
    """Print the result or the error. Raises typer.Exit if the task did not succeed."""
    if as_json:
        output.print_json(task.raw)
    elif task.succeeded:
        echo(json_text(task.result))
    elif task.error is not None:
        notice(f"{task.status_label}: {task.error.code}: {task.error.message}")
    else:
        notice(task.status_label)
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
    with Progress(*columns, console=Console(stderr=True)) as bars:
        bar_id = bars.add_task("", total=None, name=f"{task.id} {task.task_type}", state="")
        for update in iter_updates(client, task.id):
            _update_bar(bars, bar_id, update)
    return update


def _update_bar(bars: "Progress", bar_id: "TaskID", task: "Task") -> None:
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
        total = current = 1  # a completed task without a total gets a full bar
    bars.update(
        bar_id,
        total=total,
        completed=current or 0,
        state=escape(" · ".join(parts).replace("\n", " ")),
    )
