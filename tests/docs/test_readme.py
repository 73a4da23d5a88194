"""The READMEs' examples, executed: what is printed there is what a reader sees."""

import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.docs.pages import READMES, Block, blocks
from tests.live_system import Live

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
ADDRESS = "http://127.0.0.1:8000"
MARK = "--- the next block ---"


def test_both_languages_have_the_same_code() -> None:
    english, russian = (blocks(readme) for readme in READMES)
    assert english == russian


def test_the_two_commands_stand_first() -> None:
    shown = [block.text.strip() for block in blocks(READMES[0])[:2]]
    assert shown == ["make up", "docker compose up -d --build"]


@pytest.mark.servers
def test_the_examples_print_what_is_written(new_live: Callable[..., Live], tmp_path: Path) -> None:
    examples = blocks(READMES[0])
    (module,) = (block for block in examples if block.language == "python")
    (tmp_path / "my_tasks.py").write_text(module.text)
    path = f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    live = new_live(PYTHONPATH=path, TASKYARD_TASK_TYPES="my_tasks")

    scripts, expected = _paired(examples)
    script = f"\necho; echo '{MARK}'\n".join(scripts).replace(ADDRESS, live.url)
    ran = subprocess.run(
        ["sh", "-eu"],
        input=script,
        cwd=tmp_path,
        env={**live.env, "http_proxy": "", "all_proxy": ""},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr == ""
    answers = ran.stdout.split(MARK)
    assert len(answers) == len(scripts)
    for text, answer, wanted in zip(scripts, answers, expected, strict=True):
        if wanted is None:
            assert not answer.strip(), text
        elif wanted.language == "text":
            assert _abridged(wanted.text).fullmatch(answer), f"{text}\n{answer}"
        else:
            assert _like(json.loads(answer), json.loads(wanted.text)), f"{text}\n{answer}"


def _paired(examples: list[Block]) -> tuple[list[str], list[Block | None]]:
    """Each script, and the answer printed right after it, if any."""
    scripts: list[str] = []
    answers: list[Block | None] = []
    for block in examples:
        if block.language == "sh":
            scripts.append(block.text)
            answers.append(None)
        elif block.language in ("json", "text"):
            assert answers[-1] is None
            answers[-1] = block
    return scripts, answers


def _abridged(text: str) -> re.Pattern[str]:
    """What a shown answer stands for: an ellipsis is whatever was left out there."""
    shown = r"\s*".join(re.escape(line) for line in text.splitlines() if line)
    return re.compile(rf"\s*{shown}\s*".replace("…", ".*"), re.DOTALL)


def _like(found: Any, wanted: Any) -> bool:
    """Equal, but for times and for what stands in angle brackets."""
    match wanted:
        case dict():
            return set(found) == set(wanted) and all(
                _like(found[key], wanted[key]) for key in wanted
            )
        case list():
            return len(found) == len(wanted) and all(map(_like, found, wanted))
        case str() if wanted.startswith("<"):
            return isinstance(found, str) and len(found) > 20
        case str() if TIME.fullmatch(wanted):
            return bool(TIME.fullmatch(found))
    return bool(found == wanted)
