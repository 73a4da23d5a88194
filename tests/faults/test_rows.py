"""The table of faults in its short form: each row on the last database that it names.

`make faults` plays every row in its long form on each of its databases.
"""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import TEST_DB
from tests.faults.rows import ROWS, Row
from tests.faults.stage import Stage

pytestmark = pytest.mark.servers


@pytest.mark.parametrize(
    "row", [r for r in ROWS if r.databases[-1] == TEST_DB], ids=lambda r: r.name
)
def test_the_row_holds(row: Row, tmp_path: Path, figure: Callable[[str, str], None]) -> None:
    stage = Stage(TEST_DB, tmp_path, server=os.environ.get("TEST_DATABASE_URL"))
    figure(row.name, row.play(stage, False))
