"""The command `download`, and the commands of the group `files`."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from taskyard.client.commands import attachments, output
from taskyard.client.commands.fields import BadField, FilePath
from taskyard.client.commands.session import AsJson, command, connect, name_missing_file, notice
from taskyard.client.commands.terminal import echo
from taskyard.client.commands.transfers import download_all
from taskyard.client.i18n import gettext as _

if TYPE_CHECKING:
    from taskyard.client import File, Task

FileIds = Annotated[
    list[int], typer.Argument(metavar="ID...", min=1, help=_("the ids of the files"))
]
OutputDir = Annotated[
    str,
    typer.Option(metavar="DIR", help=_("the folder, which is made if necessary")),
]


@command
def download(
    task_id: Annotated[int, typer.Argument(metavar="TASK", min=1, help=_("the id of the task"))],
    name: Annotated[
        str, typer.Argument(metavar="[NAME]", help=_("one file; default: all outputs"))
    ] = "",
    output_dir: OutputDir = ".",
    as_json: AsJson = False,
) -> None:
    """Download the files that a task has saved, and print where they are.

    A NAME may also be that of an input. A file that is there under the name is replaced. After an
    interruption, the same command continues.
    """
    with connect(keep_trying=True) as client:
        task = client.get(task_id)
        files = _chosen(task, name)
        if not files:
            notice(_("Task %(id)s has saved no files.") % {"id": task_id})
        _download(files, output_dir, as_json=as_json)


@command
def get(file_ids: FileIds, output_dir: OutputDir = ".", as_json: AsJson = False) -> None:
    """Download files by their ids, and print where they are.

    A second file of the same name gets its id into the name.
    """
    with connect(keep_trying=True) as client:
        files = []
        for file_id in file_ids:
            with name_missing_file(file_id):
                files.append(client.files.get(file_id))
        _download(files, output_dir, as_json=as_json)


@command
def list_(
    task: Annotated[
        int | None, typer.Option(metavar="ID", min=1, help=_("only the files of this task"))
    ] = None,
    role: Annotated[str, typer.Option(metavar="input|output")] = "",
    as_json: AsJson = False,
) -> None:
    """List your files, oldest first."""
    with connect() as client:
        files = client.files.list(task=task, role=role or None)
        if as_json:
            for file in files:
                output.print_json(file.raw)
        else:
            output.print_table(output.file_columns(), map(output.file_row, files))


@command
def upload(
    paths: Annotated[list[str], typer.Argument(metavar="FILE...", help=_("the files; - is stdin"))],
    name: Annotated[str, typer.Option(metavar="NAME", help=_("the name on the server"))] = "",
    as_json: AsJson = False,
) -> None:
    """Upload files and print their ids.

    After a lost connection the upload of a large file goes on. The server deletes a file that no
    task has used after a day.
    """
    if name and len(paths) > 1:
        raise BadField(_("--name goes with one file"))
    with connect(keep_trying=True) as client:
        for path in paths:
            file = attachments.upload(client, FilePath(path), name or None)
            if as_json:
                output.print_json(file.raw)
            else:
                echo(file.id)


@command
def delete(file_ids: FileIds, as_json: AsJson = False) -> None:
    """Delete files that no active task uses."""
    with connect() as client:
        for file_id in file_ids:
            with name_missing_file(file_id):
                client.files.delete(file_id)
            if as_json:
                output.print_json({"id": file_id, "deleted": True})


def _chosen(task: "Task", name: str) -> "list[File]":
    """The outputs of a task, or the file of this name. Raises RequestRejected if there is none."""
    from taskyard.client import RequestRejected

    outputs = [file for file in task.files if file.role == "output"]
    if not name:
        return outputs
    inputs = [file for file in task.files if file.role != "output"]
    for files in (outputs, inputs):
        if named := [file for file in files if file.name == name]:
            return named
    text = _("Task %(id)s has no file %(name)s.") % {"id": task.id, "name": name}
    raise RequestRejected(404, "file_not_found", text)


def _download(files: "list[File]", folder: str, *, as_json: bool) -> None:
    for file, path in download_all(files, folder):
        if as_json:
            output.print_json({**file.raw, "path": str(path)})
        else:
            echo(path)
            sys.stdout.flush()
