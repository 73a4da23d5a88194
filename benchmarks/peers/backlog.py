"""One rule for all peers: the time of a backlog, from the first task done to the last recorded.

The queue is filled while no worker runs. The clock starts when the first task is done, so that no
start-up counts, and stops when the peer itself has recorded every task as finished. Each
measurement asserts that the results are right.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from benchmarks.peers import tally
from benchmarks.peers.stage import Stage, fresh, settle
from taskyard.server import child_process
from tests import servers

Command = tuple[str, ...]
PATIENCE_SECONDS = 60.0


@dataclass(frozen=True)
class Program:
    """The commands of a peer. They run at the repository's root, with Stage.environment().

    `fill` gets the count as its last argument. If the peer keeps results, `kept` gets the count
    too, reads every result back through the peer and prints their sum. `left` says how many tasks
    the peer has not recorded as finished. `copies` of `work` are started; one that is `gated`
    prints a line when it is ready and starts when it gets a line.
    """

    fill: Command
    work: Command
    left: Callable[[Stage], int]
    kept: Command | None = None
    copies: int = 2
    gated: bool = True
    environment: tuple[tuple[str, str], ...] = ()


def python(module: str, *arguments: str) -> Command:
    return (sys.executable, "-m", module, *arguments)


def drain(program: Program, stage: Stage, count: int) -> float:
    """Tasks a second."""
    with fresh(stage) as own:
        run(program, own, program.fill, count)
        settle(own)
        with working(program, own):
            _wait(lambda: tally.read(own.directory).count, count)
            _wait(lambda: count - program.left(own), count)
            last = time.monotonic()
            done = tally.read(own.directory)
        # Of every n in range(count) the sum with 1.
        expected = count * (count + 1) // 2
        assert (done.count, done.total) == (count, expected), f"{done}, not {count}, {expected}"
        if program.kept:
            kept = int(run(program, own, program.kept, count))
            assert kept == expected, f"results that add up to {kept} were kept, not {expected}"
    return (count - 1) / (last - done.first)


def run(program: Program, stage: Stage, command: Command, count: int) -> str:
    """Run one command of a peer to its end; what it printed."""
    result = subprocess.run(
        [*command, str(count)],
        env={**stage.environment(), **dict(program.environment)},
        cwd=servers.ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        raise RuntimeError(f"{command} failed:\n{result.stdout}{result.stderr}")
    return result.stdout


@contextmanager
def working(program: Program, stage: Stage) -> Iterator[None]:
    """The workers of a peer, started together."""
    log = stage.directory / "log"
    processes: list[subprocess.Popen[bytes]] = []
    try:
        with log.open("ab") as out:
            for _ in range(program.copies):
                processes.append(
                    subprocess.Popen(
                        program.work,
                        env={**stage.environment(), **dict(program.environment)},
                        cwd=servers.ROOT,
                        stdin=subprocess.PIPE,
                        stdout=subprocess.PIPE if program.gated else out,
                        stderr=out,
                        start_new_session=True,
                        preexec_fn=child_process.die_with_parent(os.getpid(), signal.SIGKILL),
                    )
                )
        if program.gated:
            _open_the_gate(processes)
        yield
    except BaseException:
        sys.stderr.write(log.read_text(errors="replace")[-4000:])
        raise
    finally:
        # A short wait is enough: with an empty queue nothing is lost if they are killed.
        child_process.stop(processes, seconds=0.5)
        for process in processes:
            for pipe in (process.stdin, process.stdout):
                if pipe:
                    pipe.close()


def _open_the_gate(processes: list[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline(), "a worker ended before it was ready"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(b"\n")
        process.stdin.flush()


def _wait(done: Callable[[], int], count: int) -> None:
    """Wait until `done` says `count`. It may take long; raises if the number stops changing."""
    before, at = -1, time.monotonic()
    while (now := done()) < count:
        if now > before:
            before, at = now, time.monotonic()
        elif time.monotonic() > at + PATIENCE_SECONDS:
            raise RuntimeError(
                f"{now} of {count} tasks done, and none for {PATIENCE_SECONDS:.0f} s"
            )
        time.sleep(0.005)
