"""Compare `taskyard bulk` with the API: python -m benchmarks.client_bulk [--lines 10000].

The command is timed from its start to its end, with the interpreter; an earlier start has compiled
its modules. The API gets the same tasks in bodies of 1,000, made beforehand, over one connection
and without an idempotency key. The two are measured alternately; each number is printed, then the
medians. SQLite, or PostgreSQL with TEST_DB=postgresql. No worker runs the accepted tasks.
"""

import argparse
import http.client
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.figures import interleaved
from benchmarks.start import compiling
from benchmarks.system import running
from tests.contract.client import User
from tests.live_system import Live

SIZE = 1000
WANTED = 0.5


@dataclass(frozen=True)
class Comparison:
    """Submit the same tasks for one user in both ways; lines a second."""

    live: Live
    token: str
    tasks: Sequence[dict[str, object]]
    folder: Path

    def by_the_command(self) -> float:
        """Run the command with a new key each time, because the old key would create no tasks."""
        file = self.folder / "lines.jsonl"
        file.write_text("".join(f"{json.dumps(task)}\n" for task in self.tasks))
        key = ("--idempotency-key", str(time.monotonic_ns()))
        started = time.perf_counter()
        ran = subprocess.run(
            [sys.executable, "-m", "taskyard", "bulk", str(file), *key],
            env={
                **compiling(self.live.env),
                "TASKYARD_URL": self.live.url,
                "TASKYARD_TOKEN": self.token,
                "XDG_CONFIG_HOME": str(self.folder),
                "LC_ALL": "C",
            },
            capture_output=True,
            text=True,
            check=False,
        )
        took = time.perf_counter() - started
        assert ran.stdout.startswith(f"{len(self.tasks)} tasks; 0 "), ran.stdout + ran.stderr
        return len(self.tasks) / took

    def by_the_api(self) -> float:
        bodies = [
            json.dumps({"tasks": self.tasks[first : first + SIZE]}).encode()
            for first in range(0, len(self.tasks), SIZE)
        ]
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        connection = http.client.HTTPConnection("127.0.0.1", self.live.port, timeout=60)
        connection.connect()
        started = time.perf_counter()
        for body in bodies:
            connection.request("POST", "/api/tasks/bulk/", body, headers)
            answer = connection.getresponse()
            content = answer.read()
            assert answer.status == 201, content
        took = time.perf_counter() - started
        connection.close()
        return len(self.tasks) / took


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--lines", type=int, default=10_000)
    options.add_argument("--rounds", type=int, default=5)
    given = options.parse_args()
    tasks = [{"task_type": "sum", "input_data": {"numbers": [n, 1]}} for n in range(given.lines)]
    with tempfile.TemporaryDirectory(prefix="taskyard-bulk-") as name, running() as live:
        live.stop_worker()
        user = User.register(live)
        token = user.http.headers["Authorization"].split()[1]
        user.http.close()
        compared = Comparison(live, token, tasks, Path(name))
        # The first responses of a process are slow, and so is the first start of a command.
        compared.by_the_api()
        compared.by_the_command()
        found = interleaved(
            {"API": compared.by_the_api, "taskyard bulk": compared.by_the_command}, given.rounds
        )
    for what, rates in found.items():
        print(f"{what:14}", *(f"{rate:9,.0f}/s" for rate in rates))
    command, api = (statistics.median(found[what]) for what in ("taskyard bulk", "API"))
    print(
        f"{given.lines:,} lines: taskyard bulk {command:,.0f}/s, the API {api:,.0f}/s: "
        f"{command / api:.2f} (wanted: at least {WANTED})"
    )
    return 0 if command >= WANTED * api else 1


if __name__ == "__main__":
    sys.exit(main())
