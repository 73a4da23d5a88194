"""The Typer application with all commands."""

import inspect
import os
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import typer

from taskyard.client.commands import account, bulk, export, tasks, terminal
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
    "bulk": bulk.bulk,
    "export": export.export,
}


def program(operator: Mapping[str, str]) -> typer.Typer:
    """Build the Typer application.

    It lists the operator's commands for `--help` and completion; `taskyard.__main__` runs them.
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

    @app.callback(invoke_without_command=True)
    def options(
        version: Annotated[
            bool,
            typer.Option(
                "--version", is_eager=True, callback=_print_version, help=_("print the version")
            ),
        ] = False,
    ) -> None:
        pass

    for name, function in COMMANDS.items():
        app.command(name, help=_(inspect.getdoc(function) or ""))(function)
    for name, text in operator.items():
        if name in COMMANDS:
            continue  # `taskyard.__main__` calls ours only with its own options
        app.command(name, help=text)(_operator_command)
    return app


def main(operator: Mapping[str, str]) -> int:
    """Run one client command and return the exit code."""
    # Typer imports pydantic, which would search every installed package for plugins.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "1")
    terminal.escape_unencodable()
    exit_code = program(operator)(prog_name="taskyard", standalone_mode=True)
    return int(exit_code or 0)


def _print_version(requested: bool) -> None:
    if requested:
        from importlib.metadata import version

        typer.echo(f"taskyard {version('taskyard')}")
        raise typer.Exit


def _operator_command() -> None:
    """Never called: `taskyard.__main__` handles the operator's commands before Typer."""
