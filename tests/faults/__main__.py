"""`make faults`: every row of the table in its long form, one line each; non-zero if one fails."""

import argparse
import sys
import tempfile
import time
import traceback
from contextlib import ExitStack
from pathlib import Path

from tests import servers
from tests.faults.rows import ROWS, Row
from tests.faults.stage import Stage

DATABASES = ("sqlite", "postgresql")


def main() -> int:
    options = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    options.add_argument("--short", action="store_true", help="the form of the suite")
    options.add_argument("--database", choices=DATABASES, action="append")
    options.add_argument("--only", metavar="TEXT", help="rows whose name has this text in it")
    chosen = options.parse_args()
    rows = [row for row in ROWS if chosen.only is None or chosen.only in row.name]
    held = True
    with ExitStack() as stack:
        server = None
        if "postgresql" in (databases := chosen.database or DATABASES):
            server = stack.enter_context(servers.postgresql())
        for row in rows:
            for database in row.databases:
                if database in databases:
                    held &= _play(row, database, server, long=not chosen.short)
    return 0 if held else 1


def _play(row: Row, database: str, server: str | None, *, long: bool) -> bool:
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="taskyard-faults-") as directory:
        try:
            figure, holds = row.play(Stage(database, Path(directory), server=server), long), True
        except Exception as error:
            lines = str(error).strip().splitlines() or [_where(error)]
            figure, holds = "; ".join(line.strip() for line in lines[:4]), False
    verdict = "holds" if holds else "DOES NOT HOLD"
    taken = time.monotonic() - began
    print(f"{database} | {row.name} | {row.wanted} | {verdict} | {figure} | {taken:.0f} s")
    sys.stdout.flush()
    return holds


def _where(error: Exception) -> str:
    """The line of code at which an error without a message was raised."""
    return f"{type(error).__name__}: {traceback.extract_tb(error.__traceback__)[-1].line}"


if __name__ == "__main__":
    sys.exit(main())
