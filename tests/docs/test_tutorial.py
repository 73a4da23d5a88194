"""The tutorial: its commands run and print what the page shows."""

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.docs.pages import DOCS, blocks
from tests.docs.shell import ADDRESS, MARK, environment
from tests.live_system import Live

pytestmark = pytest.mark.servers
PAGE = DOCS / "tutorial.md"


def test_the_tutorial_prints_what_is_written(new_live: Callable[..., Live], tmp_path: Path) -> None:
    shown = blocks(PAGE)
    (module,) = (block.text for block in shown if block.language == "python")
    (tmp_path / "tutorial_tasks.py").write_text(module)
    path = f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    live = new_live(PYTHONPATH=path, TASKYARD_TASK_TYPES="tutorial_tasks")
    scripts = [block.text.replace(ADDRESS, live.url) for block in shown if block.language == "sh"]
    answers = [block.text.replace(ADDRESS, live.url) for block in shown if block.language == "text"]
    assert len(scripts) == len(answers) > 5
    ran = subprocess.run(
        ["sh", "-eu"],
        input=f"\necho '{MARK}'\n".join(scripts),
        cwd=tmp_path,
        env=environment(live, tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout
    printed = ran.stdout.split(f"{MARK}\n")
    assert len(printed) == len(scripts)
    for script, output, wanted in zip(scripts, printed, answers, strict=True):
        assert _like(wanted).fullmatch(output), f"{script}\n{output}"


def _like(text: str) -> re.Pattern[str]:
    """A line of `…` alone stands for any lines, `…` within a line for anything on it."""
    lines = (
        "(?:.*\n)*?" if line == "…\n" else re.escape(line).replace("…", ".*")
        for line in text.splitlines(keepends=True)
    )
    return re.compile("".join(lines))
