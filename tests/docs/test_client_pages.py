"""The reference pages of the command line and the library equal the generated text."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from taskyard.__main__ import OPERATOR
from taskyard.client.commands.app import COMMANDS
from tests.docs.pages import ROOT
from tools import record, reference

PAGES = {
    reference.COMMANDS: "commands",
    reference.LIBRARY: "library",
    reference.HOST_SETTINGS: "host_settings",
}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_page_is_made_from_the_code(page: Path) -> None:
    program = (
        f"import json; from tools import reference; print(json.dumps(reference.{PAGES[page]}()))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "LC_ALL": "C"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert page.read_text() == json.loads(ran.stdout), "run python -m tools.reference"


def test_the_recording_shows_what_the_script_types() -> None:
    shown = record.PAGE.read_text()
    typed = [line[2:] for line in shown.splitlines() if line.startswith("$ ")]
    assert tuple(typed) == record.TYPED, "run python -m tools.record"
    for seen in ("100%", "Cancelled", "input_data.seconds: A whole number is expected."):
        assert seen in shown


def test_every_command_has_its_section_and_none_is_the_operators() -> None:
    text = reference.COMMANDS.read_text()
    for name in COMMANDS:
        assert f"\n## {name}\n" in text
    # `export` is both; its section is that of `export --mine`.
    for name in set(OPERATOR) - set(COMMANDS):
        assert f"\n## {name}\n" not in text
