"""The page on Django projects: from `startproject` to the first task, as a reader types it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.pages import DOCS, blocks
from tests.docs.shell import ADDRESS, is_like
from tests.host.system import Host

pytestmark = pytest.mark.servers
PAGE = DOCS / "how-to/add-to-a-django-project.md"
MOST_CHANGED_LINES = 10
BROKER = "redis://127.0.0.1:6379/3"


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Host]:
    """The reader's folder. The settings are those that `manage.py` names."""
    with Host(tmp_path, "shop.settings", {}, migrate=False) as host:
        yield host


def changes() -> dict[str, list[str]]:
    """The lines that the page adds, by file."""
    added = {}
    for block in blocks(PAGE):
        if block.language == "diff":
            name, *lines = block.text.splitlines()
            added[name.removeprefix("+++ ")] = [line.removeprefix("+") for line in lines]
    return added


def scripts() -> list[str]:
    return [block.text for block in blocks(PAGE) if block.language == "sh"]


def test_a_few_lines_are_enough() -> None:
    assert sum(map(len, changes().values())) <= MOST_CHANGED_LINES


def test_the_first_task_completes(shop: Host) -> None:
    make, prepare, submit = scripts()
    sh(shop, make.replace("pip install taskyard\n", ""), shop.directory)
    project = shop.directory / "shop"
    for name, lines in changes().items():
        text = "\n".join(lines).replace(BROKER, shop.env["REDIS_URL"])
        with (project / name).open("a") as file:
            file.write(f"{text}\n")
    shop.directory = project
    sh(shop, prepare, project)
    url = shop.start_web("uvicorn", "shop.asgi:application", "--port")
    shop.start_worker()
    answer = json.loads(sh(shop, submit.replace(ADDRESS, url), project))
    (shown,) = (block.text for block in blocks(PAGE) if block.language == "json")
    assert is_like(answer, json.loads(shown)), answer


def sh(shop: Host, script: str, directory: Path) -> str:
    environment = {
        name: value for name, value in shop.env.items() if name != "DJANGO_SETTINGS_MODULE"
    }
    programs = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    ran = subprocess.run(
        ["sh", "-eu"],
        input=script,
        cwd=directory,
        env={**environment, "PATH": programs},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout
