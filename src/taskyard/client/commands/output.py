"""What commands print. To a terminal: tables and colours; to a pipe: one line each, tabs between;
with `--json` the server's own objects."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from taskyard.client.commands.terminal import indented, is_terminal, json_text, on_one_line, put
from taskyard.client.i18n import gettext as _

if TYPE_CHECKING:
    from taskyard.client import Task

COLOURS = {"completed": "green", "error": "red", "cancelled": "yellow", "in_progress": "cyan"}


def as_json(raw: Any) -> None:
    """One JSON value on a line of its own."""
    put(json_text(raw))


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Rows under heads on a terminal, tab-separated otherwise."""
    if not is_terminal(sys.stdout):
        for row in rows:
            put("\t".join(on_one_line(cell) for cell in row))
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = Table(*heads, box=box.SIMPLE_HEAD, pad_edge=False)
    for row in rows:
        shown.add_row(*(Text(on_one_line(cell)) for cell in row))
    Console().print(shown)


def pairs(values: Mapping[str, str]) -> None:
    """Names and values, one a line."""
    width = max(len(name) for name in values)
    for name, value in values.items():
        if value:
            put(f"{name:{width}}  {indented(value, width + 2)}")


def details(task: "Task") -> None:
    """Everything about a task."""
    progress = ""
    if task.progress is not None:
        percent = task.progress.percent
        parts = ["" if percent is None else f"{percent:g} %", task.progress.message or ""]
        progress = "  ".join(part for part in parts if part)
    pairs(
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
            _("not before"): moment(task.run_at),
            _("created"): moment(task.created_at),
            _("started"): moment(task.started_at),
            _("finished"): moment(task.finished_at),
            _("retry of"): str(task.retry_of or ""),
        }
    )


def row(task: "Task") -> list[str]:
    """A task in a list."""
    percent = task.progress.percent if task.progress else None
    return [
        str(task.id),
        task.task_type,
        task.status,
        "" if percent is None or task.ended else f"{percent:g}%",
        moment(task.created_at),
        ",".join(task.tags),
    ]


def row_heads() -> list[str]:
    return [_("task"), _("type"), _("status"), _("progress"), _("created"), _("tags")]


def moment(at: datetime | None) -> str:
    """A time on the clock of this machine."""
    return "" if at is None else at.astimezone().isoformat(sep=" ", timespec="seconds")
