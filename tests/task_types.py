"""Task types that behave badly, or slowly, for tests that need one."""

import os
import signal
import time

from taskyard import Fail, Retry, Run, task_type


@task_type("busy")
def busy(seconds: float) -> str:
    """Hold a worker for some seconds."""
    time.sleep(seconds)
    return "done"


@task_type("raises", max_attempts=2, backoff=lambda attempt: 0.2)
def raises(run: Run, message: str) -> None:
    raise ValueError(f"{message} {run.attempt}")


@task_type("fails")
def fails(code: str, message: str) -> None:
    raise Fail(code, message)


@task_type("mumbles")
def mumbles() -> None:
    raise Fail("mumbled", "page 7 \ud800\0")


@task_type("retries", max_attempts=2)
def retries(run: Run, after: float) -> int:
    if run.attempt == 1:
        raise Retry("not yet", after=after)
    return run.attempt


@task_type("exits", max_attempts=1)
def exits() -> None:
    raise SystemExit(3)


@task_type("runs-out-of-memory", max_attempts=1)
def runs_out_of_memory() -> None:
    raise MemoryError


@task_type("dies", max_attempts=2)
def dies() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@task_type("returns-nothing")
def returns_nothing() -> None:
    return None


@task_type("returns-a-lie")
def returns_a_lie() -> int:
    return "not a number"  # type: ignore[return-value]
