"""Measure an idle `taskyard up`: SQLite, its own broker, one web, one worker."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from benchmarks.figures import Figure, until, value
from benchmarks.system_under_test import cpu_seconds
from taskyard.server import child_process
from tests import servers
from tests.live_system import clean_environment

SETTLE_SECONDS, SHORT_SETTLE_SECONDS = 10.0, 1.0
LOOKS = 3
LOOK_SECONDS, SHORT_LOOK_SECONDS = 20.0, 1.0


def ask(rounds: int, short: bool) -> list[Figure]:
    memory, share = [], []
    with tempfile.TemporaryDirectory(prefix="taskyard-idle-") as directory:
        log = Path(directory) / "log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "taskyard.server.cli", "up"],
                env={
                    **clean_environment(),
                    "TASKYARD_HOME": str(Path(directory) / "home"),
                    "PORT": str(servers.free_port()),
                },
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
                preexec_fn=child_process.die_with_parent(os.getpid(), signal.SIGTERM),
            )
        try:
            until(lambda: "is ready at" in log.read_text(), 60, "taskyard up")
            time.sleep(SHORT_SETTLE_SECONDS if short else SETTLE_SECONDS)
            # One measurement is long; more of them only take time.
            for _ in range(min(rounds, LOOKS)):
                before, began = cpu_seconds(process.pid), time.monotonic()
                time.sleep(SHORT_LOOK_SECONDS if short else LOOK_SECONDS)
                spent = cpu_seconds(process.pid) - before
                share.append(spent / (time.monotonic() - began))
                memory.append(_proportional(process.pid))
        finally:
            child_process.stop([process], seconds=35)
    return [
        value("idle `taskyard up`, memory (PSS)", memory, lambda mb: f"{mb:.0f} MB", at_most=350),
        value("idle `taskyard up`, of a core", share, lambda of: f"{of:.1%}", at_most=0.02),
    ]


def _proportional(pid: int) -> float:
    """Megabytes of all its processes; shared memory counts once."""
    root = psutil.Process(pid)
    family = [root, *root.children(recursive=True)]
    return sum(each.memory_full_info().pss for each in family) / 1e6
