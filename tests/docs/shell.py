"""Run the ``sh`` blocks of a page and compare what they print with the blocks behind them."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.docs.pages import Block
from tests.live_system import Live

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
ADDRESS = "http://127.0.0.1:8000"
MARK = "--- the next block ---"


def environment(live: Live, directory: Path) -> dict[str, str]:
    """The environment of a reader: `taskyard` is on PATH and talks to this live system."""
    return {
        **live.env,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "XDG_CONFIG_HOME": str(directory / "config"),
        # `taskyard` would ask the address of `make up`.
        "TASKYARD_URL": live.url,
        "LC_ALL": "C.UTF-8",
        "http_proxy": "",
        "all_proxy": "",
    }


def check_examples(examples: Sequence[Block], live: Live, directory: Path) -> None:
    """Assert that the scripts print the answers: one shell runs them all, in order.

    A script without a ``json`` or ``text`` block behind it must print nothing.
    """
    wait_for_worker(live)
    scripts, expected = _paired(examples)
    script = f"\necho; echo '{MARK}'\n".join(scripts).replace(ADDRESS, live.url)
    ran = subprocess.run(
        ["sh", "-eu"],
        input=script,
        cwd=directory,
        env=environment(live, directory),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr == ""
    answers = ran.stdout.replace(live.url, ADDRESS).split(MARK)
    assert len(answers) == len(scripts)
    for text, answer, wanted in zip(scripts, answers, expected, strict=True):
        if wanted is None:
            assert not answer.strip(), text
        elif wanted.language == "text":
            assert _abridged(wanted.text).fullmatch(answer), f"{text}\n{answer}"
        else:
            assert is_like(json.loads(answer), json.loads(wanted.text)), f"{text}\n{answer}"


def wait_for_worker(live: Live, seconds: float = 30) -> None:
    """Wait until the worker takes tasks. The examples allow a task one second to complete."""
    deadline = time.monotonic() + seconds
    while not re.search(r"celery@\S+ ready\.", live.log.read_text()):
        assert time.monotonic() < deadline, "the worker did not start"
        time.sleep(0.05)


def _paired(examples: Sequence[Block]) -> tuple[list[str], list[Block | None]]:
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
    """A pattern for a shown answer: an ellipsis stands for any text."""
    shown = r"\s*".join(re.escape(line) for line in text.splitlines() if line)
    return re.compile(rf"\s*{shown}\s*".replace("…", ".*"), re.DOTALL)


def is_like(answer: Any, wanted: Any) -> bool:
    """Whether the two are equal, apart from times and from values in angle brackets."""
    match wanted:
        case dict():
            return set(answer) == set(wanted) and all(
                is_like(answer[key], wanted[key]) for key in wanted
            )
        case list():
            return len(answer) == len(wanted) and all(map(is_like, answer, wanted))
        case str() if wanted.startswith("<"):
            return isinstance(answer, str) and len(answer) > 20
        case str() if TIME.fullmatch(wanted):
            return bool(TIME.fullmatch(answer))
    return bool(answer == wanted)
