"""The pages of the documentation, and their contents."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"
REFERENCE = DOCS / "reference"
READMES = (ROOT / "README.md", ROOT / "README.ru.md")
API_PAGES = (DOCS / "how-to" / "use-the-api.md", DOCS / "how-to" / "use-the-api.ru.md")
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])

SOURCE = ROOT / "src"

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    language: str
    text: str


def blocks(page: Path) -> list[Block]:
    return [Block(*match.groups()) for match in _BLOCK.finditer(page.read_text())]


def prose(page: Path) -> str:
    """A page without its blocks of code."""
    return _BLOCK.sub("", page.read_text())


def named(page: Path) -> set[str]:
    """The texts that a page sets in `code`."""
    return set(re.findall(r"`([^`\n]+)`", prose(page)))


def table(page: Path) -> list[list[str]]:
    """The cells of every row of every table, without the lines of dashes below the headings."""
    lines = (line for line in prose(page).splitlines() if line.startswith("|"))
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return [row for row in rows if not set("".join(row)) <= set("-| ")]


def source_trees() -> Iterator[tuple[Path, ast.Module]]:
    """Each Python file of the product, and its syntax tree."""
    for path in sorted(SOURCE.rglob("*.py")):
        yield path, ast.parse(path.read_text())
