"""Every page: its links resolve, its Python declares task types, and it names no machine."""

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from urllib.parse import unquote

import pytest

from taskyard.catalog.task_type import Registry
from tests.docs.pages import DOCS, PAGES, ROOT, blocks, named, prose

LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
PATH = re.compile(r"\w[\w.-]*(/[\w.-]+)+|__\w+__\.py")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def ids(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_every_relative_link_resolves(page: Path) -> None:
    for target in LINK.findall(prose(page)):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = unquote(target).partition("#")
        aim = (page.parent / path).resolve() if path else page
        assert aim.exists(), target
        assert aim.is_relative_to(ROOT), target
        if anchor:
            assert anchor in _anchors(aim), target


def test_every_page_is_in_the_index() -> None:
    index = (DOCS / "README.md").read_text()
    for page in DOCS.rglob("*.md"):
        if page != DOCS / "README.md" and not page.is_relative_to(DOCS / "adr"):
            assert f"({page.relative_to(DOCS)})" in index


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_the_python_declares_task_types(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from taskyard.catalog import task_type

    monkeypatch.setattr(task_type, "registry", Registry())
    for block in blocks(page):
        if block.language == "python":
            # With a __name__, because pydantic resolves annotations in the namespace of the module.
            exec(compile(block.text, str(page), "exec"), {"__name__": page.stem})
            assert task_type.registry.all()
            for declared in task_type.registry.all():
                assert declared.input_schema
                assert declared.result_schema


def test_every_file_that_the_architecture_names_exists() -> None:
    paths = {name for name in named(DOCS / "architecture.md") if PATH.fullmatch(name)}
    assert len(paths) > 40
    for path in paths:
        assert any((folder / path).exists() for folder in (ROOT, ROOT / "src" / "taskyard")), path


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_it_names_no_path_of_a_machine(page: Path) -> None:
    text = page.read_text()
    assert not re.search(r"/(work|home|root|Users)/|pypi\.org|/simple/", text)


def test_the_picture_is_an_svg_for_light_and_dark() -> None:
    picture = DOCS / "road.svg"
    root = ElementTree.parse(picture).getroot()
    assert root.tag.endswith("svg")
    text = picture.read_text()
    assert "prefers-color-scheme: dark" in text
    assert "<script" not in text


def _anchors(page: Path) -> set[str]:
    """The anchors of the headings of a page, as Git hosts generate them."""
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        for heading in HEADING.findall(prose(page))
    }
