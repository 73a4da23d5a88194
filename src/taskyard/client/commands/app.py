"""The Typer application with all commands."""

import inspect
import os
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import typer

from taskyard.client.commands import account, bulk, export, files, keys, session, tasks, terminal
from taskyard.client.commands.session import USAGE, notice
from taskyard.client.i18n import gettext as _

COMMANDS: dict[str, Callable[..., Any]] = {
    "login": account.login,
    "logout": account.logout,
    "whoami": account.whoami,
    "types": tasks.types,
    "submit": tasks.submit,
    "list": tasks.list_,
    "show": tasks.show,
    "watch": tasks.watch,
    "logs": tasks.logs,
    "cancel": tasks.cancel,
    "retry": tasks.retry,
    "share": tasks.share,
    "download": files.download,
    "bulk": bulk.bulk,
    "export": export.export,
}
# The commands of `taskyard files`.
FILES: dict[str, Callable[..., Any]] = {
    "list": files.list_,
    "upload": files.upload,
    "get": files.get,
    "delete": files.delete,
}
# The commands of `taskyard keys`.
KEYS: dict[str, Callable[..., Any]] = {
    "list": keys.list_,
    "create": keys.create,
    "revoke": keys.revoke,
}


def program(
    operator: Mapping[str, str], *, version: str = "", has_server: bool = True
) -> typer.Typer:
    """Build the Typer application.

    It lists the operator's commands for `--help` and completion; `taskyard.__main__` runs them.
    Without the server they are hidden, and only say why they do nothing.
    """
    app = typer.Typer(
        name="taskyard",
        help=_("Submit long-running tasks, watch them run, get the result."),
        no_args_is_help=True,
        # Importing Rich takes longer than everything else together.
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    def print_version(requested: bool) -> None:
        if requested:
            typer.echo(f"taskyard {version}")
            raise typer.Exit

    @app.callback(invoke_without_command=True)
    def options(
        show_version: Annotated[
            bool,
            typer.Option(
                "--version", is_eager=True, callback=print_version, help=_("print the version")
            ),
        ] = False,
        on_behalf_of: Annotated[
            str,
            typer.Option(
                metavar="SUBJECT", help=_("with the key of a service account: whose tasks they are")
            ),
        ] = "",
    ) -> None:
        session.act_for(on_behalf_of or None)

    for name, function in COMMANDS.items():
        app.command(name, help=_(inspect.getdoc(function) or ""))(function)
    files_help = _("Your files: list, upload, download and delete them.")
    app.add_typer(_group(files_help, FILES), name="files")
    keys_help = _("Your API keys for programs: list, make and revoke them.")
    app.add_typer(_group(keys_help, KEYS), name="keys")
    for name, text in operator.items():
        if name in COMMANDS:
            continue  # `taskyard.__main__` calls ours only with its own options
        app.command(
            name,
            help=text,
            hidden=not has_server,
            context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
        )(_operator_command)
    return app


def _group(text: str, functions: Mapping[str, Callable[..., Any]]) -> typer.Typer:
    group = typer.Typer(help=text, no_args_is_help=True, rich_markup_mode=None)
    for name, function in functions.items():
        group.command(name, help=_(inspect.getdoc(function) or ""))(function)
    return group


def main(operator: Mapping[str, str], *, version: str, has_server: bool) -> int:
    """Run one client command and return the exit code."""
    # Typer imports pydantic, which would search every installed package for plugins.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "1")
    terminal.escape_unencodable()
    exit_code = program(operator, version=version, has_server=has_server)(
        prog_name="taskyard", standalone_mode=True
    )
    return int(exit_code or 0)


def _operator_command() -> None:
    """Runs only without the server, because `taskyard.__main__` calls the server before Typer."""
    notice(_("This command needs the server: the package taskyard, on Linux or macOS."))
    raise typer.Exit(USAGE)
