"""Measure the effect of a change: two checkouts, measured alternately, as ratios.

`python -m benchmarks.turns BEFORE [--rounds 9] [--only create drain …]`, where BEFORE is a checkout
of the tree to compare with, for example one that `git worktree add` made. This tree is the other.
Each tree has an environment of its own (`.venv`, by `make .venv/.bench` there) and a system of its
own on PostgreSQL; one of them is measured at a time.

The speed of a machine drifts within seconds, so many short measurements say more than a few long
ones. Creates, alone and with their tasks completed, are measured for a second at a time and need 50
rounds or more.
"""

import argparse
import os
import random
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

HERE = Path(__file__).parent.parent
# For these, fewer seconds are better; the others are rates.
SECONDS = ("latency",)
MEASURES = ("create", "drain", "end-to-end", *SECONDS)


def main() -> int:
    options = argparse.ArgumentParser(prog="python -m benchmarks.turns", description=__doc__)
    options.add_argument("before", type=Path)
    options.add_argument("--rounds", type=int, default=9)
    options.add_argument("--only", nargs="+", choices=MEASURES, default=MEASURES)
    given = options.parse_args()
    with ExitStack() as stack:
        before = stack.enter_context(system(given.before.absolute()))
        after = stack.enter_context(system(HERE))
        for measure in given.only:
            for each in (before, after):
                ask(each, measure)  # the first time is not counted
            pairs = [pair(before, after, measure) for _ in range(given.rounds)]
            print(row(measure, pairs), flush=True)
    return 0


@contextmanager
def system(tree: Path) -> Iterator[subprocess.Popen[str]]:
    """A running system of a tree; it measures the questions that it reads from standard input."""
    process = subprocess.Popen(
        [
            sys.executable if tree == HERE else str(tree / ".venv" / "bin" / "python"),
            "-P",
            str(HERE / "benchmarks" / "measured_tree.py"),
        ],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        if process.stdout.readline() != "ready\n":
            raise RuntimeError(f"the system of {tree} did not start")
        yield process
    finally:
        process.communicate(timeout=60)


def ask(process: subprocess.Popen[str], measure: str) -> float:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{measure}\n")
    process.stdin.flush()
    answer = process.stdout.readline()
    if not answer:
        raise RuntimeError(f"{measure} failed")
    return float(answer)


def pair(
    before: subprocess.Popen[str], after: subprocess.Popen[str], measure: str
) -> tuple[float, float]:
    """Measure one round in random order, because the second tree may have warmer caches."""
    if random.random() < 0.5:
        return ask(before, measure), ask(after, measure)
    second = ask(after, measure)
    return ask(before, measure), second


def row(measure: str, pairs: list[tuple[float, float]]) -> str:
    """The median and the mean of the ratios, the error of the mean, and both medians."""
    ratios = [b / a if measure in SECONDS else a / b for b, a in pairs]
    before, after = (statistics.median(side) for side in zip(*pairs, strict=True))
    shown = "{:.1f} ms" if measure in SECONDS else "{:,.0f}/s"
    scale = 1000 if measure in SECONDS else 1
    mean, error = statistics.mean(ratios), statistics.stdev(ratios) / len(ratios) ** 0.5
    return (
        f"{measure}: {statistics.median(ratios):.2f}×, mean {mean:.2f} ± {error:.2f} "
        f"({min(ratios):.2f} to {max(ratios):.2f}); "
        f"before {shown.format(before * scale)}, after {shown.format(after * scale)}"
    )


if __name__ == "__main__":
    sys.exit(main())
