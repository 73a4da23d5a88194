"""Count the work of each process of a peer in a small mapped file; an update is a memory write.

A file is named after its process and holds three little-endian numbers: when the first task was
done (seconds of the machine's monotonic clock), the number of tasks, the sum of their results.
`node/tally.js` writes the same format.
"""

import mmap
import os
import struct
import threading
import time
from dataclasses import dataclass
from pathlib import Path

FORM = struct.Struct("<dqq")
SUFFIX = ".tally"

_lock = threading.Lock()  # dramatiq's workers are threads
_own: "_Own | None" = None


class _Own:
    def __init__(self) -> None:
        path = Path(os.environ["BENCH_TALLIES"]) / f"{os.getpid()}{SUFFIX}"
        path.write_bytes(bytes(FORM.size))
        with path.open("r+b") as file:
            self.memory = mmap.mmap(file.fileno(), FORM.size)
        self.first = time.monotonic()
        self.count = 0
        self.total = 0


def done(result: int) -> None:
    """Count one task; a handler of a peer calls this at its end."""
    global _own
    with _lock:
        # At the first task, not on import: by then the process is the one that works.
        own = _own = _own or _Own()
        own.count += 1
        own.total += result
        FORM.pack_into(own.memory, 0, own.first, own.count, own.total)


@dataclass(frozen=True)
class Tallied:
    first: float
    count: int
    total: int


def read(directory: Path) -> Tallied:
    """The sum of all processes; 0 tasks if there is no file yet."""
    read = [path.read_bytes() for path in directory.glob(f"*{SUFFIX}")]
    # A file that was just created is empty.
    found = [FORM.unpack(each) for each in read if len(each) == FORM.size]
    begun = [each for each in found if each[1]]
    return Tallied(
        first=min((first for first, _, _ in begun), default=0.0),
        count=sum(count for _, count, _ in begun),
        total=sum(total for _, _, total in begun),
    )
