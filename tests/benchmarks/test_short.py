"""`make bench` in its short form: every question is answered. Nothing is timed, nothing written."""

import shutil
import subprocess
import sys

import pytest

from benchmarks import plots, table
from benchmarks.figures import ratio
from benchmarks.questions import QUESTIONS
from tests import servers


@pytest.mark.servers
def test_every_question_is_answered() -> None:
    assert shutil.which("wrk"), "wrk is needed: `make bench` installs it"
    ran = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--short"],
        cwd=servers.ROOT,
        capture_output=True,
        text=True,
        timeout=360,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    asked = [line[4:] for line in ran.stdout.splitlines() if line.startswith("--- ")]
    assert asked == list(QUESTIONS)
    assert ran.stdout.count("| ") > len(QUESTIONS)


def test_the_page_has_a_place_for_the_table_and_shows_what_was_measured() -> None:
    page = table.PAGE.read_text()
    assert page.count(table.BEGIN) == page.count(table.END) == 1
    kept = table.read()
    shown = page.split(table.BEGIN)[1].split(table.END)[0].strip()
    assert shown == table.render(kept, list(QUESTIONS))


def test_a_figure_is_a_row_with_its_ratio_first() -> None:
    figure = ratio("drain", 2.0, ("ours", [30.0, 50.0, 40.0]), ("theirs", [10.0, 10.0, 20.0]))
    cells = table.row(vars(figure)).strip("| ").split(" | ")
    assert cells == [
        *("drain", "≥ 2×", "4.0×", "2.00–5.0×", "ours 40/s, theirs 10/s", "yes"),
    ]


def test_a_plot_is_drawn_from_one_point_and_from_many() -> None:
    for points in ([(1.0, 2.0)], [(1.0, 0.0), (10.0, 700.0), (100.0, 3500.0)]):
        drawn = plots.svg(plots.Plot("A title", "x", {"a & b": points}, logarithmic=True))
        assert "a &amp; b" in drawn
        assert "nan" not in drawn
