"""Limit a process to less than a core, by a control group.

A second process adds something only if the first did not use the whole machine already. Needs root;
the groups are our own and are removed.
"""

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

PERIOD_MICROSECONDS = 20_000
FIRST = Path("/sys/fs/cgroup/cpu")  # version 1: a hierarchy for each controller
SECOND = Path("/sys/fs/cgroup")  # version 2: one for all


def possible() -> bool:
    try:
        with limited([], 0.5):
            return True
    except OSError:
        return False


@contextmanager
def limited(processes: Sequence[Iterable[int]], share: float) -> Iterator[None]:
    """Limit each of these groups of processes to this share of one core."""
    with ExitStack() as stack:
        for number, pids in enumerate(processes or [[]]):
            stack.enter_context(_group(f"taskyard-bench-{os.getpid()}-{number}", pids, share))
        yield


@contextmanager
def _group(name: str, pids: Iterable[int], share: float) -> Iterator[None]:
    parent = FIRST if FIRST.is_dir() else SECOND
    group = parent / name
    quota = int(PERIOD_MICROSECONDS * share)
    group.mkdir()
    try:
        if parent == FIRST:
            (group / "cpu.cfs_period_us").write_text(str(PERIOD_MICROSECONDS))
            (group / "cpu.cfs_quota_us").write_text(str(quota))
        else:
            (group / "cpu.max").write_text(f"{quota} {PERIOD_MICROSECONDS}")
        for pid in pids:
            (group / "cgroup.procs").write_text(str(pid))
        yield
    finally:
        _remove(group, parent)


def _remove(group: Path, parent: Path) -> None:
    for pid in (group / "cgroup.procs").read_text().split():
        # It may have ended since.
        with suppress(ProcessLookupError):
            (parent / "cgroup.procs").write_text(pid)
    for _ in range(50):
        with suppress(OSError):
            group.rmdir()
            return
        time.sleep(0.02)
    group.rmdir()
