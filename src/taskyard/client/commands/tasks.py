"""submit, list, show, watch, logs, cancel, retry, types."""

import json
import sys
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import typer

from taskyard.client.commands import fields, output
from taskyard.client.commands.session import TASK_FAILED, AsJson, command, connect, naming, say
from taskyard.client.commands.terminal import (
    indented,
    is_terminal,
    json_text,
    on_one_line,
    put,
    show_raw,
)
from taskyard.client.commands.watching import finish, told, until_ended
from taskyard.client.i18n import gettext as _

if TYPE_CHECKING:
    from taskyard.client import Client, Task


def _type_names(incomplete: str) -> Iterator[str]:
    """For the shell's completion, which must never fail aloud."""
    try:
        with connect() as client:
            yield from (each.name for each in client.types() if each.name.startswith(incomplete))
    except Exception:
        return


TypeName = Annotated[
    str, typer.Argument(metavar="TYPE", help=_("the task type"), autocompletion=_type_names)
]
TaskId = Annotated[int, typer.Argument(metavar="ID", min=1, help=_("the number of the task"))]
TaskIds = Annotated[
    list[int], typer.Argument(metavar="ID...", min=1, help=_("the numbers of the tasks"))
]
Wait = Annotated[
    bool,
    typer.Option("--wait", help=_("until it has ended; print its result"), show_default=False),
]
Raw = Annotated[
    bool,
    typer.Option("--raw", help=_("texts as they came, control characters too"), show_default=False),
]
Watch = Annotated[
    bool,
    typer.Option("--watch", help=_("the same with a bar that moves"), show_default=False),
]


@command
def types(
    name: Annotated[str, typer.Argument(metavar="[TYPE]", autocompletion=_type_names)] = "",
    as_json: AsJson = False,
) -> None:
    """List what can be run, or show one TYPE."""
    with connect() as client:
        found = [each for each in client.types() if name in ("", each.name)]
    if name and not found:
        raise typer.BadParameter(_("%(name)s: there is no such task type") % {"name": name})
    if as_json:
        for each in found:
            output.as_json(each.raw)
    elif name:
        put(f"{found[0].label}: {found[0].description}")
        put(json_text(found[0].input_schema, indent=2))
    else:
        heads = [_("type"), _("label"), _("input"), _("description")]
        output.table(
            heads,
            (
                [each.name, each.label, _inputs(each.input_schema), each.description]
                for each in found
            ),
        )


@command
def submit(
    task_type: TypeName,
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FIELD...",
            help=_("name=text, name:=json, name=@file or name:=@file"),
        ),
    ] = None,
    source: Annotated[
        str, typer.Option("--input", metavar="FILE", help=_("the input as JSON; - is stdin"))
    ] = "",
    wait: Wait = False,
    watch: Watch = False,
    run_at: Annotated[
        str, typer.Option(metavar="TIME", help=_("not before this moment, ISO 8601 with a zone"))
    ] = "",
    delay: Annotated[
        float | None, typer.Option(metavar="SECONDS", help=_("not before they have passed"))
    ] = None,
    priority: Annotated[
        str, typer.Option(metavar="low|normal|high", help=_("else that of the type"))
    ] = "",
    max_attempts: Annotated[
        int | None, typer.Option(metavar="N", help=_("1 to 10; else that of the type"))
    ] = None,
    timeout: Annotated[
        float | None, typer.Option(metavar="SECONDS", help=_("that one attempt may take"))
    ] = None,
    tag: Annotated[list[str] | None, typer.Option(metavar="TAG", help=_("may be repeated"))] = None,
    idempotency_key: Annotated[
        str, typer.Option(metavar="KEY", help=_("the same key again makes no second task"))
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Submit a task and print its number."""
    given = fields.read(words or [], source or None)
    with connect(patient=wait or watch) as client:
        _check(client, task_type, given)
        task = client.submit(
            task_type,
            given,
            run_at=run_at or None,
            delay=delay,
            priority=priority or None,
            max_attempts=max_attempts,
            timeout=timeout,
            tags=tag or (),
            idempotency_key=idempotency_key or None,
        )
        _accepted(client, task, wait=wait, watch=watch, as_json=as_json)


@command
def retry(
    task_id: TaskId, wait: Wait = False, watch: Watch = False, as_json: AsJson = False
) -> None:
    """Try again what ended in error or was cancelled."""
    with connect(patient=wait or watch) as client:
        _accepted(client, client.retry(task_id), wait=wait, watch=watch, as_json=as_json)


@command
def list_(
    status: Annotated[
        list[str] | None,
        typer.Option(metavar="STATUS", help=_("pending, in_progress, completed, error, cancelled")),
    ] = None,
    task_type: Annotated[
        str, typer.Option("--type", metavar="TYPE", autocompletion=_type_names)
    ] = "",
    tag: Annotated[str, typer.Option(metavar="TAG")] = "",
    created_after: Annotated[
        str, typer.Option(metavar="TIME", help=_("at this moment or later, ISO 8601 with a zone"))
    ] = "",
    created_before: Annotated[str, typer.Option(metavar="TIME", help=_("or earlier"))] = "",
    ordering: Annotated[
        str,
        typer.Option(
            metavar="ORDER", help=_("id, created_at, finished_at, or one with - before it")
        ),
    ] = "-id",
    after: Annotated[
        int | None, typer.Option(metavar="ID", help=_("only behind this task, in the order of ids"))
    ] = None,
    limit: Annotated[int, typer.Option(min=0, help=_("at most so many; 0 is all"))] = 20,
    follow: Annotated[
        bool,
        typer.Option(
            "--follow", "-f", help=_("the active ones, then every change"), show_default=False
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List the own tasks, the newest first."""
    if follow:
        if created_after or created_before or after is not None:
            raise typer.BadParameter(_("--follow goes with --status, --type and --tag only"))
        wanted = (set(status or ()), task_type, tag)
        with connect(patient=True) as client:
            for event in client.stream():
                if _matches(event.task, *wanted):
                    _line(event.task, as_json=as_json)
        return
    with connect() as client:
        found = client.list(
            status=status or (),
            task_type=task_type or None,
            tag=tag or None,
            created_after=created_after or None,
            created_before=created_before or None,
            ordering=ordering,
            after=after,
            page_size=min(limit, 100) or 100,
        )
        tasks = islice(found, limit or None)
        if as_json:
            for task in tasks:
                output.as_json(task.raw)
        else:
            output.table(output.row_heads(), map(output.row, tasks))


@command
def show(task_id: TaskId, raw: Raw = False, as_json: AsJson = False) -> None:
    """Show a task and its attempts."""
    if raw:
        show_raw()
    with connect() as client:
        task = client.get(task_id)
        if as_json:
            output.as_json(task.raw)
            return
        output.details(task)
        attempts = [*client.attempts(task_id)]
    if attempts:
        put("")
        heads = [_("attempt"), _("outcome"), _("started"), _("ended"), _("error")]
        rows = (
            [
                str(each.number),
                each.outcome,
                output.moment(each.started_at),
                output.moment(each.ended_at),
                f"{each.error.code}: {each.error.message}" if each.error else "",
            ]
            for each in attempts
        )
        output.table(heads, rows)


@command
def watch(task_id: TaskId, as_json: AsJson = False) -> None:
    """Watch a task until it has ended."""
    with connect(patient=True) as client:
        if as_json:
            last: str | None = None
            for task in told(client, task_id):
                if (line := json.dumps(task.raw)) != last:
                    output.as_json(task.raw)
                last = line
            raise typer.Exit(0 if task.succeeded else TASK_FAILED)
        finish(until_ended(client, client.get(task_id), bar=True), as_json=False)


@command
def logs(
    task_id: TaskId,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help=_("until it has ended"), show_default=False)
    ] = False,
    raw: Raw = False,
    as_json: AsJson = False,
) -> None:
    """Read what a task said."""
    if raw:
        show_raw()
    from taskyard.client import WaitTimeout

    read, ended = 0, False
    with connect(patient=follow) as client:
        while True:
            for line in client.logs(task_id, after=read):
                read += 1
                if as_json:
                    output.as_json(line.raw)
                    continue
                level = f"{line.level}  " if line.level else ""
                put(f"{output.moment(line.at)}  {level}{indented(line.message, 2)}")
                if line.dropped:
                    say(_("%(count)s lines are missing here") % {"count": line.dropped})
            if ended or not follow:
                return
            try:
                # What it said last is read once more behind its end.
                ended = client.wait(task_id, timeout=1).ended
            except WaitTimeout:
                continue


@command
def cancel(task_ids: TaskIds, wait: Wait = False, as_json: AsJson = False) -> None:
    """Cancel tasks, or ask them to stop."""
    with connect(patient=wait) as client:
        for task_id in task_ids:
            with naming(task_id):
                task = client.cancel(task_id)
            if wait and not task.ended:
                task = until_ended(client, task, bar=False)
            if as_json:
                output.as_json(task.raw)
            elif task.ended:
                put(f"{task.id}  {task.status_label}")
            else:
                put(f"{task.id}  {_('asked to stop')}")


def _check(client: "Client", name: str, given: dict[str, Any]) -> None:
    """Refuse here what the server would refuse. Whether there is such a type is its to say."""
    from taskyard.client.commands import checks

    for known in client.types():
        if known.name == name and (refused := checks.refusal(known.input_schema, given)):
            raise refused


def _accepted(client: "Client", task: "Task", *, wait: bool, watch: bool, as_json: bool) -> None:
    if wait or watch:
        if is_terminal(sys.stderr):
            say(_("Task %(id)s is accepted") % {"id": task.id})
        finish(until_ended(client, task, bar=watch), as_json=as_json)
    elif as_json:
        output.as_json(task.raw)
    else:
        put(task.id)


def _inputs(schema: dict[str, object]) -> str:
    """`numbers [digits]`: what must be given, and what may."""
    properties, required = schema.get("properties"), schema.get("required")
    names = properties if isinstance(properties, dict) else {}
    needed = required if isinstance(required, list) else []
    return " ".join(name if name in needed else f"[{name}]" for name in names)


def _matches(task: "Task", statuses: set[str], task_type: str, tag: str) -> bool:
    return (
        (not statuses or task.status in statuses)
        and task_type in ("", task.task_type)
        and (not tag or tag in task.tags)
    )


def _line(task: "Task", *, as_json: bool) -> None:
    if as_json:
        output.as_json(task.raw)
    else:
        put("\t".join(map(on_one_line, output.row(task))))
