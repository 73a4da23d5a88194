"""Measure `taskyard export` and `taskyard import`: seconds, and the largest memory of the process.

`python -m benchmarks.transfer [--tasks 10000 100000]`; TEST_DB=postgresql for PostgreSQL. Each
number of tasks is exported from a new database and imported into another one. A tenth of the tasks
has five log lines, a past attempt and its traceback.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from tests import servers
from tests.live_system import clean_environment

FILL = """
from datetime import UTC, datetime
from django.contrib.auth import get_user_model
from taskyard.core.models import *
users = get_user_model().objects
owners = [users.create_user("user" + str(n), None, "password123").pk for n in range(10)]
then = datetime(2025, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
ended = dict(ready=False, finished_at=then, created_at=then, started_at=then, claimed_at=then)
for first in range(0, {count}, 1000):
    tasks = Task.objects.bulk_create(
        Task(owner_id=owners[n % 10], task_type="sum", queue="default", attempt=2, fence=2,
            input_data=dict(numbers=list(range(50))), result=dict(result=1225),
            status="completed", **ended)
        for n in range(1000))
    some = tasks[::10]
    LogLine.objects.bulk_create(LogLine(task=task, attempt=1, at=then, message="x" * 200)
        for task in some for _ in range(5))
    Attempt.objects.bulk_create(
        Attempt(task=task, number=1, fence=1, started_at=then, error_code="retry") for task in some)
    AttemptTraceback.objects.bulk_create(
        AttemptTraceback(task=task, fence=1, exception_type="E", location="l", text="y" * 1000)
        for task in some)
"""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--tasks", type=int, nargs="+", default=[10_000, 100_000])
    on_postgresql = os.environ.get("TEST_DB") == "postgresql"
    for count in parser.parse_args().tasks:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            server = stack.enter_context(servers.postgresql()) if on_postgresql else None
            source, target = (_installation(stack, folder / name, server) for name in "ab")
            run(source, "manage", "shell", "--no-imports", "-c", FILL.format(count=count))
            file = folder / "tasks.jsonl"
            exported = run(source, "export", str(file))
            imported = run(target, "import", str(file))
            again = run(target, "import", str(file))
            print(
                f"{count:>9,} tasks, {file.stat().st_size / 2**20:,.0f} MiB: "
                f"export {exported}; import {imported}; import again {again}",
                flush=True,
            )


def _installation(stack: ExitStack, home: Path, server: str | None) -> dict[str, str]:
    environment = {**clean_environment(), "TASKYARD_HOME": str(home)}
    if server is not None:
        environment["DATABASE_URL"] = stack.enter_context(servers.database(server))
    run(environment, "migrate", "-v", "0")
    return environment


def run(environment: dict[str, str], *words: str) -> str:
    """Run a command to its end; its seconds, of which the processor's, and its largest memory."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "taskyard", *words],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"taskyard {words[0]} ended with {process.returncode}")
    seconds = time.perf_counter() - began
    processor = used.ru_utime + used.ru_stime
    return f"{seconds:.1f} s ({processor:.1f} s of CPU), {used.ru_maxrss / 1024:.0f} MiB"


if __name__ == "__main__":
    main()
