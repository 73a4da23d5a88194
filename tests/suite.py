"""Run the suite: `python -m tests.suite check|test|slow|all [pytest's arguments]`.

`check` runs the fast tests on SQLite. The others run their tests on SQLite and on PostgreSQL at
once, each in two processes, because most tests wait most of the time: `test` without the slow
tests, `slow` the slow ones alone, `all` both. `tests/tiers.py` says which tests are slow, and why.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from typing import IO

from tests import tiers
from tests.servers import ROOT, postgresql

SHARDS_PER_DATABASE = 2


def main(tier: str, arguments: Sequence[str]) -> int:
    """Run a tier; 1 if a test failed on either database."""
    if tier == "check":
        return _start("sqlite", tier, arguments).wait()
    with ExitStack() as stack:
        output = stack.enter_context(tempfile.TemporaryFile())
        server = stack.enter_context(postgresql())
        print("=== the suite on sqlite; the one on postgresql runs beside it ===", flush=True)
        on_sqlite = _start("sqlite", tier, arguments)
        on_postgresql = _start("postgresql", tier, arguments, server, output)
        codes = {"sqlite": on_sqlite.wait(), "postgresql": on_postgresql.wait()}
        print("=== the suite on postgresql ===", flush=True)
        output.seek(0)
        shutil.copyfileobj(output, sys.stdout.buffer)
    failed = [database for database, code in codes.items() if code]
    print(f"=== FAILED on {' and '.join(failed)} ===" if failed else "=== all passed ===")
    return 1 if failed else 0


def _start(
    database: str,
    tier: str,
    arguments: Sequence[str],
    server: str | None = None,
    output: IO[bytes] | None = None,
) -> subprocess.Popen[bytes]:
    # Named tests run in one process, also the slow ones.
    is_whole = all(argument.startswith("-") for argument in arguments)
    selection = ["--tier", tier, "--numprocesses", str(SHARDS_PER_DATABASE), "--dist", "loadfile"]
    others = [path for kind, paths in tiers.ONCE.items() if kind != database for path in paths]
    if tier in ("check", "test"):
        others += [test for test in tiers.SLOW if "::" not in test]  # some need other packages
    selection += [f"--ignore={path}" for path in others]
    environment = {**os.environ, "TEST_DB": database}
    environment.pop("TEST_REDIS_URL", None)  # each process starts its own: tests stop and fill it
    if is_whole:
        environment["TEST_SHARDED"] = "yes"
    if server is not None:
        environment["TEST_DATABASE_URL"] = server
    return subprocess.Popen(
        [sys.executable, "-m", "pytest", *(selection if is_whole else ()), *arguments],
        env=environment,
        cwd=ROOT,
        stdout=output,
        stderr=output and subprocess.STDOUT,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
