"""`python -m benchmarks [--only NAME …] [--rounds 5] [--short]`: Taskyard beside its peers.

Each question prints its rows when it has been measured. The numbers go to
benchmarks/results/latest.json, the table and the plots into docs/. `--short` checks that every
question runs, and writes no file.
"""

import argparse
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from benchmarks import plots, table
from benchmarks.questions import QUESTIONS
from benchmarks.services import shared

ROUNDS = 5


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--only", nargs="+", choices=QUESTIONS, help="these questions alone")
    options.add_argument("--rounds", type=int, default=ROUNDS)
    options.add_argument("--short", action="store_true", help="small sizes, one round")
    given = options.parse_args()
    chosen = {name: ask for name, ask in QUESTIONS.items() if name in (given.only or QUESTIONS)}
    rounds = 1 if given.short else given.rounds
    with ExitStack() as stack:
        latest, plotted = table.LATEST, plots.DIRECTORY
        if given.short:
            stack.enter_context(shared())
            elsewhere = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="short-")))
            latest, plotted = elsewhere / "latest.json", elsewhere
        failed = []
        for name, answer in table.run(chosen, rounds, given.short):
            # Saved one by one: if a person stops the run, the rows measured so far are kept.
            kept = table.keep({name: answer}, latest)
            failed += [name] * ("error" in answer)
            plots.draw(kept, plotted)
            if given.short:
                table.render(kept, list(QUESTIONS))
            else:
                table.write(kept, list(QUESTIONS))
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
