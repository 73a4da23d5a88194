"""The program: all commands, the operator's listed beside ours."""

import inspect
import os
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import typer

from taskyard.client.commands import account, bulk, tasks, terminal
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
}


def program(operator: Mapping[str, str]) -> typer.Typer:
    """The Typer application. The operator's commands are there for `--help` and completion."""
    app = typer.Typer(
        name="taskyard",
        help=_("Submit long-running tasks, watch them run, get the result."),
        no_args_is_help=True,
        # Rich would take longer to load than all the rest.
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    @app.callback(invoke_without_command=True)
    def options(
        version: Annotated[
            bool,
            typer.Option(
                "--version", is_eager=True, callback=_version, help=_("print the version")
            ),
        ] = False,
    ) -> None:
        pass

    for name, function in COMMANDS.items():
        app.command(name, help=_(inspect.getdoc(function) or ""))(function)
    for name, text in operator.items():
        app.command(name, help=text)(_elsewhere)
    return app


def main(operator: Mapping[str, str]) -> int:
    """Run one command of a person who uses Taskyard; the exit code."""
    # Typer loads pydantic, which then looks for plugins in every package there is.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "1")
    terminal.settle()
    answer = program(operator)(prog_name="taskyard", standalone_mode=True)
    return int(answer or 0)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"taskyard {version('taskyard')}")
        raise typer.Exit


def _elsewhere() -> None:
    """Never called: `taskyard.__main__` takes these words first."""
