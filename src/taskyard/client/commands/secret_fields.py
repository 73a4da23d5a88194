"""Secrets in the fields of `submit`: found by the task type's schema, and typed without an echo.

So they need not stand in the command, which the shell keeps in its history and other users see in
the list of processes.
"""

import sys
from collections.abc import Mapping
from typing import Any

from taskyard.client.commands.terminal import is_terminal

FORMAT = "password"


def secret_names(schema: Mapping[str, Any]) -> frozenset[str]:
    """The inputs of a task type that are secrets."""
    properties = schema.get("properties", {}).items()
    return frozenset(name for name, value in properties if _is_secret(value))


def ask_for_missing(schema: Mapping[str, Any], data: dict[str, Any]) -> None:
    """On a terminal, ask for the secrets that the type requires; what is typed is not shown."""
    missing = secret_names(schema) - data.keys()
    if not missing or not is_terminal(sys.stdin):
        return
    import typer

    for name in schema.get("required", ()):
        if name in missing:
            data[name] = str(typer.prompt(name, hide_input=True, err=True))


def _is_secret(schema: Mapping[str, Any]) -> bool:
    if any(map(_is_secret, schema.get("anyOf", ()))):
        return True
    return schema.get("format") == FORMAT and schema.get("writeOnly") is True
