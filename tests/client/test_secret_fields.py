"""Secrets on the command line stand in no history, and are not echoed."""

from pathlib import Path
from typing import Any

import pytest

from taskyard.catalog.schema import Signature
from taskyard.client.commands import secret_fields
from taskyard.client.commands.fields import BadField, parse_fields
from tests.catalog.test_secrets import optional, plain

SCHEMA = Signature(plain).input_schema


def test_secrets_are_found_in_the_schema() -> None:
    assert secret_fields.secret_names(SCHEMA) == {"secret"}
    assert secret_fields.secret_names(Signature(optional).input_schema) == {"secret"}
    assert not secret_fields.secret_names({"properties": {"a": {"format": "password"}}})


def test_a_secret_comes_from_a_file_or_a_variable_without_its_line_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "secret"
    file.write_text("two\nlines\r\n")
    monkeypatch.setenv("API_KEY", "from the environment\n")
    words = [f"secret=@{file}", "open=@env:API_KEY"]
    assert parse_fields([words[0]], None, (), {"secret"}) == {"secret": "two\nlines"}
    given = parse_fields(["secret=@env:API_KEY"], None, (), {"secret"})
    assert given == {"secret": "from the environment\n"}
    with pytest.raises(BadField, match="env:API_KEY"):
        parse_fields([words[1]], None, (), {"secret"})  # another field reads a file
    with pytest.raises(BadField, match="NO_SUCH_NAME"):
        parse_fields(["secret=@env:NO_SUCH_NAME"], None, (), {"secret"})


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_missing_secret_is_asked_for_on_a_terminal_without_an_echo(
    monkeypatch: pytest.MonkeyPatch, is_terminal: bool
) -> None:
    asked: list[Any] = []

    def prompt(name: str, **options: Any) -> str:
        asked.append((name, options["hide_input"]))
        return "typed"

    monkeypatch.setattr("typer.prompt", prompt)
    monkeypatch.setattr(secret_fields, "is_terminal", lambda stream: is_terminal)
    data: dict[str, Any] = {}
    secret_fields.ask_for_missing(SCHEMA, data)
    assert (data, asked) == (({"secret": "typed"}, [("secret", True)]) if is_terminal else ({}, []))
    secret_fields.ask_for_missing(Signature(optional).input_schema, {})
    secret_fields.ask_for_missing(SCHEMA, {"secret": "given"})
    assert len(asked) == is_terminal
