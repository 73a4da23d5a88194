"""Child processes that end with their parent, however it ends."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence

PR_SET_PDEATHSIG = 1
# Loaded before any fork: afterwards nothing but the system call may happen.
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


def die_with_parent(parent: int, death_signal: signal.Signals) -> Callable[[], None]:
    """What a new child must do first, after any change of its user, which would undo it."""

    def in_the_child() -> None:
        if _libc is not None:
            _libc.prctl(PR_SET_PDEATHSIG, int(death_signal))
            # The parent may have died before the call above.
            if os.getppid() != parent:
                os._exit(1)

    return in_the_child


def start(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    death_signal: signal.Signals,
    pass_fds: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start a program in a session of its own, so that the terminal's Ctrl-C reaches us only.

    On Linux the kernel sends it `death_signal` when this thread ends. What it prints goes to
    stderr: stdout is for the one line with the address.
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
    """End whatever is left of a child and of its children."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


def stop(processes: Sequence[subprocess.Popen[bytes]], *, seconds: float) -> None:
    """Ask the processes to end, wait for all of them together, then end what is left."""
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
