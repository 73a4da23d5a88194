"""docs/security.md names tests that exist, and every row of the hostile table."""

import ast
import re

from tests.docs.pages import DOCS, ROOT

PAGE = DOCS / "security.md"


def test_every_test_that_is_named_exists() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", PAGE.read_text())
    assert len(named) > 40
    for path, test in named:
        text = (ROOT / path).read_text()
        assert not test or f"def {test}(" in text, f"{path}::{test}"


def test_every_row_of_the_hostile_table_is_shown() -> None:
    page = PAGE.read_text()
    for path in sorted((ROOT / "tests" / "hostile").glob("test_*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                assert f"`tests/hostile/{path.name}::{node.name}`" in page, node.name
