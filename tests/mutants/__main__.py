"""`make mutants`: break one promise at a time and report which test fails; non-zero if none does.

Each mutant runs on a copy of the tree. The tests that it names run first, then the quick ones,
then (with `--slow`) those on whole systems; the first failure ends it.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from tests import servers
from tests.mutants.catalogue import MUTANTS, Mutant

ROOT = Path(__file__).parent.parent.parent
COPIED = (
    "src",
    "tests",
    "tools",
    "docs",
    "pyproject.toml",
    "compose.yaml",
    "README.md",
    "README.ru.md",
)
QUICK = ("tests/core", "tests/accounts", "tests/live", "tests/api", "tests/worker")
SLOW = ("tests/contract", "tests/faults", "tests/client/test_kills.py")
TIMEOUT_SECONDS = 900
DATABASES = ("postgresql", "sqlite")


def main() -> int:
    options = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    options.add_argument("--only", metavar="TEXT", default="", help="mutants with this in the name")
    options.add_argument("--slow", action="store_true", help="also the tests on whole systems")
    options.add_argument("--jobs", type=int, default=2, help="how many at a time (default: 2)")
    chosen = options.parse_args()
    mutants = [mutant for mutant in MUTANTS if chosen.only in mutant.name]
    with ExitStack() as stack:
        server = stack.enter_context(servers.postgresql())
        pool = stack.enter_context(ThreadPoolExecutor(chosen.jobs))
        killers = pool.map(lambda mutant: play(mutant, server, slow=chosen.slow), mutants)
        survivors = [mutant for mutant, killer in zip(mutants, killers, strict=True) if not killer]
    killed = len(mutants) - len(survivors)
    print(f"{killed} of {len(mutants)} killed ({killed / max(1, len(mutants)):.0%})")
    return 1 if survivors else 0


def play(mutant: Mutant, server: str, *, slow: bool) -> str | None:
    """Run the tests against one mutant; return the test that failed and its database, or None."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="taskyard-mutant-") as directory:
        tree = copy_of_the_tree(Path(directory))
        mutant.apply(tree)
        killer = _killer(mutant, tree, server, slow=slow)
    verdict = f"killed by {killer}" if killer else "SURVIVED"
    print(f"{mutant.name} | {mutant.promise} | {verdict} | {time.monotonic() - began:.0f} s")
    sys.stdout.flush()
    return killer


def copy_of_the_tree(directory: Path) -> Path:
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            leave_out = shutil.ignore_patterns("__pycache__", "node_modules")
            shutil.copytree(source, directory / name, ignore=leave_out)
        else:
            shutil.copy(source, directory)
    return directory


def _killer(mutant: Mutant, tree: Path, server: str, *, slow: bool) -> str | None:
    for tests in (mutant.tests, QUICK, *((SLOW,) if slow else ())):
        for database in DATABASES if mutant.database is None else (mutant.database,):
            if tests and (killer := _failing(tests, tree, server, database)):
                return f"{killer} ({database})"
    return None


def _failing(tests: Sequence[str], tree: Path, server: str, database: str) -> str | None:
    """The first test that fails; "no answer" if the run does not end."""
    try:
        ran = subprocess.run(
            [sys.executable, "-m", "pytest", "-x", "-q", *tests],
            cwd=tree,
            env={
                **os.environ,
                "PYTHONPATH": str(tree / "src"),
                "TEST_DB": database,
                "TEST_DATABASE_URL": server,
            },
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return "no answer"
    if ran.returncode == 0:
        return None
    named = re.search(r"^(?:FAILED|ERROR) (\S+)", ran.stdout, re.MULTILINE)
    return named[1] if named else f"exit {ran.returncode}"


if __name__ == "__main__":
    sys.exit(main())
