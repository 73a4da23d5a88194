"""`make bench` in its short form: every question runs; nothing is timed or written."""

import os
import re
import shutil
import subprocess
import sys
import time

import pytest

from benchmarks import limits, plots, table, versions
from benchmarks.figures import ratio
from benchmarks.peers import PEERS
from benchmarks.questions import QUESTIONS
from benchmarks.system_under_test import cpu_seconds
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


@pytest.mark.servers
def test_two_trees_are_measured_in_turns() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "benchmarks.turns", ".", "--rounds", "2", "--only", "create"],
        cwd=servers.ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert re.match(r"create: \d+\.\d\d×, mean ", ran.stdout), ran.stdout


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


def test_the_table_says_on_what_it_was_measured() -> None:
    answer = {
        "at": "2026-11-24T10:00:00+00:00",
        "rounds": 5,
        "machine": versions.machine(),
        "versions": versions.versions(),
        "peers": versions.peers(),
        "figures": [],
    }
    shown = table.render({"drain": answer}, ["drain"])
    for name, version in answer["versions"].items():
        assert f"{name} {version}" in shown
    assert all(f"| {name} |" in shown for name in PEERS)


def test_a_limited_process_gets_its_share_and_nothing_stays_behind() -> None:
    if not limits.possible():
        pytest.skip("control groups are not ours to make")
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as process:
        try:
            with limits.limited([[process.pid]], 0.1):
                before = cpu_seconds(process.pid)
                time.sleep(1)
                assert cpu_seconds(process.pid) - before < 0.3
            groups = (limits.FIRST, limits.SECOND)
            assert not any(list(group.glob(f"taskyard-bench-{os.getpid()}-*")) for group in groups)
        finally:
            process.kill()
