"""`make check`, `make test` and `make test-all` name tests that exist."""

import ast
from pathlib import Path

import pytest

from tests import tiers
from tests.servers import ROOT

ONCE = [path for paths in tiers.ONCE.values() for path in paths]
ENTRIES = [*tiers.SLOW, *tiers.CHECKED, *tiers.NOT_IN_HOST, *ONCE]


@pytest.mark.parametrize("entry", ENTRIES)
def test_an_entry_names_tests(entry: str) -> None:
    path, _, name = entry.partition("::")
    assert (ROOT / path).exists()
    if name:
        assert [test for test in functions(ROOT / path) if test.startswith(name)]


def functions(path: Path) -> list[str]:
    tree = ast.parse(path.read_text())
    return [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
