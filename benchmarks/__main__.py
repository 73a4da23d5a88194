"""`python -m benchmarks [--only NAME …] [--rounds 5] [--short]`: Taskyard beside its peers.

Each question prints its rows as it is answered. The numbers go to benchmarks/results/latest.json,
the table and the plots into docs/. `--short` shows that all of it runs, and writes nothing there.
"""

import argparse
import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path

from benchmarks import plots, table
from benchmarks.ground import shared
from benchmarks.questions import QUESTIONS

ROUNDS = 5


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--only", nargs="+", choices=QUESTIONS, help="these questions alone")
    options.add_argument("--rounds", type=int, default=ROUNDS)
    options.add_argument("--short", action="store_true", help="small sizes, one round")
    given = options.parse_args()
    chosen = {name: ask for name, ask in QUESTIONS.items() if name in (given.only or QUESTIONS)}
    rounds = 1 if given.short else given.rounds
    with shared() if given.short else nullcontext():
        answers = table.run(chosen, rounds, given.short)
    if given.short:
        with tempfile.TemporaryDirectory(prefix="taskyard-short-") as directory:
            kept = table.keep(answers, Path(directory) / "latest.json")
            table.render(kept, list(QUESTIONS))
            plots.draw(kept, Path(directory))
    else:
        kept = table.keep(answers)
        plots.draw(kept)
        table.write(kept, list(QUESTIONS))
    failed = [name for name, answer in answers.items() if "error" in answer]
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
