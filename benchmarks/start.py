"""Measure `taskyard --help`: python -m benchmarks.start. Wall time and CPU of 15 starts.

An earlier start has left compiled modules behind, as on any machine.
"""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping

RUNS = 15


def compiling(environment: Mapping[str, str]) -> dict[str, str]:
    """The same, but Python may write compiled modules, which test machines often forbid."""
    return {name: value for name, value in environment.items() if name != "PYTHONDONTWRITEBYTECODE"}


def main() -> None:
    took: list[float] = []
    spent: list[float] = []
    for _ in range(RUNS + 1):
        began = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "taskyard", "--help"],
            stdout=subprocess.DEVNULL,
            env=compiling(os.environ),
        )
        _, status, used = os.wait4(process.pid, 0)
        took.append((time.perf_counter() - began) * 1000)
        spent.append((used.ru_utime + used.ru_stime) * 1000)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
    took, spent = took[1:], spent[1:]
    print(
        f"taskyard --help: median {statistics.median(took):.0f} ms ({min(took):.0f}–"
        f"{max(took):.0f}), of which {statistics.median(spent):.0f} ms of CPU"
    )


if __name__ == "__main__":
    main()
