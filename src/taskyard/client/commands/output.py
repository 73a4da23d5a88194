"""The output of the commands: tables on a terminal, tab-separated lines in a pipe, and the API's
objects with `--json`."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from taskyard.client.commands.terminal import (
    echo,
    indent_lines,
    is_terminal,
    json_text,
    to_one_line,
)
from taskyard.client.i18n import gettext as _

if TYPE_CHECKING:
    from taskyard.client import File, Task


def print_json(raw: Any) -> None:
    """Print a JSON value on one line."""
    echo(json_text(raw))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table on a terminal, tab-separated rows without a header otherwise."""
    if not is_terminal(sys.stdout):
        for row in rows:
            echo("\t".join(to_one_line(cell) for cell in row))
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*columns, box=box.SIMPLE_HEAD, pad_edge=False)
    for row in rows:
        table.add_row(*(Text(to_one_line(cell)) for cell in row))
    Console().print(table)


def print_pairs(values: Mapping[str, str]) -> None:
    """Print one name and value per line; empty values are skipped."""
    width = max(len(name) for name in values)
    for name, value in values.items():
        if value:
            echo(f"{name:{width}}  {indent_lines(value, width + 2)}")


def print_task(task: "Task") -> None:
    """Print all fields of a task."""
    progress = ""
    if task.progress is not None:
        percent = task.progress.percent
        parts = ["" if percent is None else f"{percent:g} %", task.progress.message or ""]
        progress = "  ".join(part for part in parts if part)
    print_pairs(
        {
            _("task"): str(task.id),
            _("type"): task.task_type,
            _("status"): task.status_label,
            _("input"): json_text(task.input_data),
            _("result"): "" if task.result is None else json_text(task.result),
            _("error"): f"{task.error.code}: {task.error.message}" if task.error else "",
            _("progress"): progress,
            _("attempt"): f"{task.attempt} / {task.max_attempts}",
            _("priority"): task.priority,
            _("queue"): task.queue,
            _("tags"): ", ".join(task.tags),
            _("not before"): local_time(task.run_at),
            _("created"): local_time(task.created_at),
            _("started"): local_time(task.started_at),
            _("finished"): local_time(task.finished_at),
            _("retry of"): str(task.retry_of or ""),
        }
    )


def task_row(task: "Task") -> list[str]:
    """The cells of a task in a list."""
    percent = task.progress.percent if task.progress else None
    return [
        str(task.id),
        task.task_type,
        task.status,
        "" if percent is None or task.ended else f"{percent:g}%",
        local_time(task.created_at),
        ",".join(task.tags),
    ]


def task_columns() -> list[str]:
    """The headers of `task_row`."""
    return [_("task"), _("type"), _("status"), _("progress"), _("created"), _("tags")]


def file_row(file: "File") -> list[str]:
    """The cells of a file in a list."""
    cells = [str(file.id), file.role, file.name, size_text(file.size), file.content_type]
    return [*cells, local_time(file.created_at), local_time(file.expires_at)]


def file_columns() -> list[str]:
    """The headers of `file_row`."""
    columns = [_("file"), _("role"), _("name"), _("size"), _("content type")]
    return [*columns, _("saved"), _("kept until")]


def size_text(size: float) -> str:
    """A number of bytes as people write it."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            break
        size /= 1000
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"


def local_time(at: datetime | None) -> str:
    """A time in the time zone of this machine."""
    return "" if at is None else at.astimezone().isoformat(sep=" ", timespec="seconds")
