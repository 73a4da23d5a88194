"""The command line starts fast and imports nothing of the server."""

import re
import subprocess
import sys

import pytest

from taskyard.client.commands.app import COMMANDS
from taskyard.operator_help import OPERATOR
from taskyard.server import cli
from tests.live_system import clean_environment

SERVER = re.compile(
    r"taskyard\.(accounts|api|catalog|core|web|live|server|worker)"
    r"|django|rest_framework|celery"
)
# Typer imports pydantic when a command runs.
HEAVY = re.compile(r"httpx|rich|asyncio|pydantic")


def loaded(*words: str) -> set[str]:
    """The modules that a command imports."""
    ran = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "taskyard", *words],
        env={**clean_environment(), "TASKYARD_URL": "http://127.0.0.1:1", "TASKYARD_TOKEN": "x"},
        capture_output=True,
        text=True,
        check=False,
    )
    return set(re.findall(r"^import time:.*\|\s+([\w.]+)$", ran.stderr, re.MULTILINE))


@pytest.mark.parametrize("words", [("--help",), ("submit", "--help"), ("list",), ("whoami",)])
def test_nothing_of_the_server_is_loaded(words: tuple[str, ...]) -> None:
    modules = loaded(*words)
    assert "taskyard.client.commands.tasks" in modules
    assert not {name for name in modules if SERVER.match(name)}


def test_help_imports_neither_httpx_nor_rich() -> None:
    assert not {name for name in loaded("--help") if HEAVY.match(name)}


def test_a_command_imports_httpx_but_neither_rich_nor_asyncio() -> None:
    modules = loaded("whoami")
    assert "httpx" in modules
    assert not {name for name in modules if re.match(r"rich|pygments|click|asyncio", name)}


def test_the_operators_commands_are_those_of_the_server() -> None:
    assert cli.COMMANDS.keys() == OPERATOR.keys()
    # `taskyard export` is the operator's, `taskyard export --mine` the client's.
    assert set(OPERATOR) & set(COMMANDS) == {"export"}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete_both_kinds_of_commands(shell: str) -> None:
    variables = {
        "_TASKYARD_COMPLETE": f"complete_{shell}",
        "COMP_WORDS": "taskyard w",
        "COMP_CWORD": "1",
        "_TYPER_COMPLETE_ARGS": "taskyard w",
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }
    ran = subprocess.run(
        [sys.executable, "-m", "taskyard"],
        env={**clean_environment(), **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert {"watch", "whoami", "web", "worker"} <= set(re.findall(r"\w+", ran.stdout))


def test_the_version_is_the_packages() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "taskyard", "--version"], capture_output=True, text=True, check=True
    )
    from taskyard import __version__

    assert ran.stdout == f"taskyard {__version__}\n"
