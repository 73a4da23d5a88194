"""Child processes that end when their parent ends, also after its SIGKILL."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence

from taskyard.core import prctl


def die_with_parent(parent: int, death_signal: signal.Signals) -> Callable[[], None]:
    """A function for `preexec_fn` that lets the kernel send the signal when the parent ends."""

    def set_death_signal() -> None:
        prctl.set_death_signal(death_signal)
        # The parent may have died before the call above.
        if os.getppid() != parent:
            os._exit(1)

    return set_death_signal


def start(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    death_signal: signal.Signals,
    pass_fds: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start a program in a session of its own, so that Ctrl-C at the terminal does not reach it.

    On Linux the kernel sends it `death_signal` when this thread ends. Its output goes to our
    stderr, because our stdout has only the line with the web's address.
    """
    return subprocess.Popen(
        argv,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr.fileno(),
        pass_fds=pass_fds,
        start_new_session=True,
        preexec_fn=die_with_parent(os.getpid(), death_signal),
    )


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill all processes of a child's process group."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


def stop(processes: Sequence[subprocess.Popen[bytes]], *, seconds: float) -> None:
    """Send SIGTERM, wait at most `seconds` for all processes together, then kill the rest."""
    for process in processes:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + seconds
    for process in processes:
        try:
            process.wait(timeout=max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
        kill_group(process)
        process.wait()
