"""The commands submit, list, show, watch, logs, cancel, retry, share and types."""

import sys
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import typer

from taskyard.client.commands import attachments, fields, output, secret_fields
from taskyard.client.commands.session import (
    TASK_FAILED,
    AsJson,
    command,
    connect,
    name_missing_task,
    notice,
)
from taskyard.client.commands.terminal import (
    disable_escaping,
    echo,
    indent_lines,
    is_terminal,
    json_text,
    to_one_line,
)
from taskyard.client.commands.transfers import download_all
from taskyard.client.commands.watching import iter_updates, print_outcome, wait_until_done
from taskyard.client.i18n import gettext as _

if TYPE_CHECKING:
    from taskyard.client import Client, Task


def _type_names(incomplete: str) -> Iterator[str]:
    """Names for shell completion, which must not print errors."""
    try:
        with connect() as client:
            names = [task_type.name for task_type in client.types()]
        yield from (name for name in names if name.startswith(incomplete))
    except Exception:
        return


TypeName = Annotated[
    str, typer.Argument(metavar="TYPE", help=_("the task type"), autocompletion=_type_names)
]
TaskId = Annotated[int, typer.Argument(metavar="ID", min=1, help=_("the id of the task"))]
TaskIds = Annotated[
    list[int], typer.Argument(metavar="ID...", min=1, help=_("the ids of the tasks"))
]
Wait = Annotated[
    bool,
    typer.Option(
        "--wait", help=_("wait until the task has ended; print its result"), show_default=False
    ),
]
Raw = Annotated[
    bool,
    typer.Option(
        "--raw", help=_("print texts unchanged, with control characters"), show_default=False
    ),
]
Watch = Annotated[
    bool,
    typer.Option("--watch", help=_("like --wait, with a progress bar"), show_default=False),
]


@command
def types(
    name: Annotated[str, typer.Argument(metavar="[TYPE]", autocompletion=_type_names)] = "",
    as_json: AsJson = False,
) -> None:
    """List the task types, or show one TYPE."""
    with connect() as client:
        task_types = [each for each in client.types() if name in ("", each.name)]
    if name and not task_types:
        raise typer.BadParameter(_("%(name)s: there is no such task type") % {"name": name})
    if as_json:
        for task_type in task_types:
            output.print_json(task_type.raw)
    elif name:
        (task_type,) = task_types
        echo(f"{task_type.label}: {task_type.description}")
        echo(json_text(task_type.input_schema, indent=2))
    else:
        columns = [_("type"), _("label"), _("input"), _("description")]
        rows = (
            [each.name, each.label, _input_names(each.input_schema), each.description]
            for each in task_types
        )
        output.print_table(columns, rows)


@command
def submit(
    task_type: TypeName,
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FIELD...",
            help=_("name=text, name:=json, name=@file or name:=@file; an input file is uploaded"),
        ),
    ] = None,
    source: Annotated[
        str, typer.Option("--input", metavar="FILE", help=_("the input as JSON; - is stdin"))
    ] = "",
    wait: Wait = False,
    watch: Watch = False,
    run_at: Annotated[
        str,
        typer.Option(metavar="TIME", help=_("start at this time or later, ISO 8601 with a zone")),
    ] = "",
    delay: Annotated[
        float | None, typer.Option(metavar="SECONDS", help=_("start after this delay"))
    ] = None,
    priority: Annotated[
        str, typer.Option(metavar="low|normal|high", help=_("default: from the task type"))
    ] = "",
    max_attempts: Annotated[
        int | None, typer.Option(metavar="N", help=_("1 to 10; default: from the task type"))
    ] = None,
    timeout: Annotated[
        float | None, typer.Option(metavar="SECONDS", help=_("time limit of one attempt"))
    ] = None,
    tag: Annotated[list[str] | None, typer.Option(metavar="TAG", help=_("may be repeated"))] = None,
    idempotency_key: Annotated[
        str,
        typer.Option(metavar="KEY", help=_("a second submit with the same key creates no task")),
    ] = "",
    output_dir: Annotated[
        str,
        typer.Option(
            metavar="DIR", help=_("like --wait; download what the task has saved to this folder")
        ),
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Submit a task and print its id."""
    wait = wait or bool(output_dir)
    with connect(keep_trying=wait or watch) as client:
        schema = _input_schema(client, task_type)
        files = attachments.file_fields(schema)
        secrets = secret_fields.secret_names(schema)
        data = fields.parse_fields(words or [], source or None, files, secrets)
        if secrets:
            secret_fields.ask_for_missing(schema, data)
        _validate_input(schema, files, data)
        with attachments.uploaded(client, files, data) as input_data:
            task = client.submit(
                task_type,
                input_data,
                run_at=run_at or None,
                delay=delay,
                priority=priority or None,
                max_attempts=max_attempts,
                timeout=timeout,
                tags=tag or (),
                idempotency_key=idempotency_key or None,
            )
        _print_submitted(
            client, task, wait=wait, watch=watch, output_dir=output_dir, as_json=as_json
        )


@command
def retry(
    task_id: TaskId, wait: Wait = False, watch: Watch = False, as_json: AsJson = False
) -> None:
    """Submit a failed or cancelled task again, as a new task."""
    with connect(keep_trying=wait or watch) as client:
        _print_submitted(client, client.retry(task_id), wait=wait, watch=watch, as_json=as_json)


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
        str,
        typer.Option(metavar="TIME", help=_("created at this time or later, ISO 8601 with a zone")),
    ] = "",
    created_before: Annotated[
        str, typer.Option(metavar="TIME", help=_("created at this time or earlier"))
    ] = "",
    ordering: Annotated[
        str,
        typer.Option(
            metavar="ORDER", help=_("id, created_at or finished_at; - before it reverses the order")
        ),
    ] = "-id",
    after: Annotated[
        int | None, typer.Option(metavar="ID", help=_("only tasks after this one, ordered by id"))
    ] = None,
    limit: Annotated[int, typer.Option(min=0, help=_("how many at most; 0 means all"))] = 20,
    follow: Annotated[
        bool,
        typer.Option(
            "--follow", "-f", help=_("list active tasks, then every change"), show_default=False
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List your tasks, newest first."""
    if follow:
        if created_after or created_before or after is not None:
            raise typer.BadParameter(_("--follow goes with --status, --type and --tag only"))
        statuses = set(status or ())
        with connect(keep_trying=True) as client:
            for event in client.stream():
                if _matches(event.task, statuses, task_type, tag):
                    _print_task_line(event.task, as_json=as_json)
        return
    with connect() as client:
        all_tasks = client.list(
            status=status or (),
            task_type=task_type or None,
            tag=tag or None,
            created_after=created_after or None,
            created_before=created_before or None,
            ordering=ordering,
            after=after,
            page_size=min(limit, 100) or 100,
        )
        tasks = islice(all_tasks, limit or None)
        if as_json:
            for task in tasks:
                output.print_json(task.raw)
        else:
            output.print_table(output.task_columns(), map(output.task_row, tasks))


@command
def show(task_id: TaskId, raw: Raw = False, as_json: AsJson = False) -> None:
    """Show a task and its attempts."""
    if raw:
        disable_escaping()
    with connect() as client:
        task = client.get(task_id)
        if as_json:
            output.print_json(task.raw)
            return
        output.print_task(task)
        if task.files:
            echo("")
            output.print_table(output.file_columns(), map(output.file_row, task.files))
        attempts = [*client.attempts(task_id)]
    if attempts:
        echo("")
        columns = [_("attempt"), _("outcome"), _("started"), _("ended"), _("error")]
        rows = (
            [
                str(attempt.number),
                attempt.outcome,
                output.local_time(attempt.started_at),
                output.local_time(attempt.ended_at),
                f"{attempt.error.code}: {attempt.error.message}" if attempt.error else "",
            ]
            for attempt in attempts
        )
        output.print_table(columns, rows)


@command
def watch(task_id: TaskId, as_json: AsJson = False) -> None:
    """Watch a task until it has ended."""
    with connect(keep_trying=True) as client:
        if as_json:
            printed: Any = None
            for task in iter_updates(client, task_id):
                if task.raw != printed:
                    output.print_json(task.raw)
                printed = task.raw
            raise typer.Exit(0 if task.succeeded else TASK_FAILED)
        print_outcome(wait_until_done(client, client.get(task_id), bar=True), as_json=False)


@command
def logs(
    task_id: TaskId,
    follow: Annotated[
        bool,
        typer.Option("--follow", "-f", help=_("until the task has ended"), show_default=False),
    ] = False,
    raw: Raw = False,
    as_json: AsJson = False,
) -> None:
    """Print the log lines of a task."""
    if raw:
        disable_escaping()
    from taskyard.client import WaitTimeout

    line_count, ended = 0, False
    with connect(keep_trying=follow) as client:
        while True:
            for line in client.logs(task_id, after=line_count):
                line_count += 1
                if as_json:
                    output.print_json(line.raw)
                    continue
                level = f"{line.level}  " if line.level else ""
                echo(f"{output.local_time(line.at)}  {level}{indent_lines(line.message, 2)}")
                if line.dropped:
                    notice(_("%(count)s lines are missing here") % {"count": line.dropped})
            if ended or not follow:
                return
            try:
                # After the end the loop reads once more, for the last lines.
                ended = client.wait(task_id, timeout=1).ended
            except WaitTimeout:
                continue


@command
def cancel(task_ids: TaskIds, wait: Wait = False, as_json: AsJson = False) -> None:
    """Cancel tasks, or ask them to stop."""
    with connect(keep_trying=wait) as client:
        for task_id in task_ids:
            with name_missing_task(task_id):
                task = client.cancel(task_id)
            if wait and not task.ended:
                task = wait_until_done(client, task, bar=False)
            if as_json:
                output.print_json(task.raw)
            elif task.ended:
                echo(f"{task.id}  {task.status_label}")
            else:
                echo(f"{task.id}  {_('asked to stop')}")


@command
def share(
    task_id: TaskId,
    expires_in: Annotated[
        int, typer.Option(metavar="SECONDS", min=1, help=_("how long the link works"))
    ] = 86_400,
    files: Annotated[
        bool,
        typer.Option("--files", help=_("show also what the task saves"), show_default=False),
    ] = False,
    html: Annotated[
        bool,
        typer.Option(
            "--html", help=_("print HTML that shows the task on your site"), show_default=False
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make a link that shows a task without a login."""
    with connect() as client, name_missing_task(task_id):
        link = client.share(task_id, expires_in=expires_in, files=files)
    if as_json:
        output.print_json(link.raw)
        return
    # A project may have no pages or no static files; the token reads the API in any case.
    echo((link.html if html else link.url) or link.token)
    if is_terminal(sys.stderr):
        notice(_("It works until %(time)s") % {"time": output.local_time(link.expires_at)})


def _input_schema(client: "Client", name: str) -> dict[str, Any]:
    """The schema of a task type; without any rule if the server does not know the type."""
    schemas = (each.input_schema for each in client.types() if each.name == name)
    return next(schemas, {})


def _validate_input(
    schema: dict[str, Any], files: dict[str, attachments.FileField], data: dict[str, Any]
) -> None:
    """Raise InvalidRequest for an invalid input. The server reports an unknown task type."""
    from taskyard.client.commands import checks

    error = attachments.check(files, data)
    if error is None and schema:
        error = checks.validate(schema, attachments.with_ids(files, data, {}))
    if error is not None:
        raise error


def _print_submitted(
    client: "Client",
    task: "Task",
    *,
    wait: bool,
    watch: bool,
    as_json: bool,
    output_dir: str = "",
) -> None:
    if wait or watch:
        if is_terminal(sys.stderr):
            notice(_("Task %(id)s is accepted") % {"id": task.id})
        task = wait_until_done(client, task, bar=watch)
        if output_dir:
            outputs = [file for file in task.files if file.role == "output"]
            for _file, path in download_all(outputs, output_dir):
                if is_terminal(sys.stderr):
                    notice(_("Saved: %(path)s") % {"path": path})
        print_outcome(task, as_json=as_json)
    elif as_json:
        output.print_json(task.raw)
    else:
        echo(task.id)


def _input_names(schema: dict[str, object]) -> str:
    """The names of the inputs, optional ones in brackets: `numbers [digits]`."""
    properties, required = schema.get("properties"), schema.get("required")
    names = properties if isinstance(properties, dict) else {}
    required_names = required if isinstance(required, list) else []
    return " ".join(name if name in required_names else f"[{name}]" for name in names)


def _matches(task: "Task", statuses: set[str], task_type: str, tag: str) -> bool:
    return (
        (not statuses or task.status in statuses)
        and task_type in ("", task.task_type)
        and (not tag or tag in task.tags)
    )


def _print_task_line(task: "Task", *, as_json: bool) -> None:
    if as_json:
        output.print_json(task.raw)
    else:
        echo("\t".join(map(to_one_line, output.task_row(task))))
