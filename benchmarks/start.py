"""How soon `taskyard --help` is there: python -m benchmarks.start. Wall time and CPU, of 15."""

import os
import statistics
import subprocess
import sys
import time

RUNS = 15


def main() -> None:
    took, spent = [], []
    for _ in range(RUNS):
        began = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "taskyard", "--help"], stdout=subprocess.DEVNULL
        )
        _, status, used = os.wait4(process.pid, 0)
        took.append((time.perf_counter() - began) * 1000)
        spent.append((used.ru_utime + used.ru_stime) * 1000)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
    print(
        f"taskyard --help: median {statistics.median(took):.0f} ms ({min(took):.0f}–"
        f"{max(took):.0f}), of which {statistics.median(spent):.0f} ms of CPU"
    )


if __name__ == "__main__":
    main()
