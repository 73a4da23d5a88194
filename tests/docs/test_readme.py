"""The READMEs and the pages of the API: their examples run and print what the pages show."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.docs.pages import API_PAGES, READMES, ROOT, blocks, table
from tests.docs.shell import check_examples
from tests.live_system import Live

SOURCE = re.compile(r"\[[^\]]+\]\(([^)]+)\)")


@pytest.mark.parametrize("pages", [READMES, API_PAGES], ids=["README", "use-the-api"])
def test_both_languages_have_the_same_code(pages: tuple[Path, Path]) -> None:
    english, russian = (blocks(page) for page in pages)
    assert english == russian


def test_the_two_commands_stand_first() -> None:
    shown = [block.text.strip() for block in blocks(READMES[0])[:2]]
    assert shown == ["make up", "docker compose up -d --build"]


def test_the_readmes_are_short() -> None:
    for readme in READMES:
        assert len(readme.read_text().splitlines()) <= 150


@pytest.mark.parametrize("readme", READMES, ids=lambda readme: readme.name)
def test_every_figure_stands_on_the_page_that_is_named_beside_it(readme: Path) -> None:
    figures = [
        (row[1], source[1])
        for row in table(readme)
        if len(row) == 3 and (source := SOURCE.fullmatch(row[2]))
    ]
    assert len(figures) > 5
    for figure, source in figures:
        assert figure in (ROOT / source).read_text(), f"{source} no longer says {figure}"


@pytest.mark.servers
@pytest.mark.parametrize("page", [READMES[0], API_PAGES[0]], ids=lambda page: page.name)
def test_the_examples_print_what_is_written(
    new_live: Callable[..., Live], tmp_path: Path, page: Path
) -> None:
    # The page of the API adds a task type to that of the README.
    sources = dict.fromkeys([READMES[0], page])
    module = [
        block.text for each in sources for block in blocks(each) if block.language == "python"
    ]
    (tmp_path / "my_tasks.py").write_text("\n\n".join(module))
    path = f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    live = new_live(PYTHONPATH=path, TASKYARD_TASK_TYPES="my_tasks")
    check_examples(blocks(page), live, tmp_path)
