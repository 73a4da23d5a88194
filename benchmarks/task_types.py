"""Task types that only benchmarks use: TASKYARD_TASK_TYPES=benchmarks.task_types."""

import time
from datetime import UTC, datetime
from typing import Annotated

from pydantic import Field

from benchmarks.peers import tally
from taskyard import Run, task_type
from taskyard.catalog.builtin import Number, SumResult
from taskyard.catalog.builtin import sum as add


@task_type("tallied-sum", batch=500)
def tallied_sum(
    numbers: Annotated[list[Number], Field(min_length=1, max_length=10_000)],
) -> SumResult:
    """The built-in sum, counted by the same clock as the handlers of the peers."""
    result = add(numbers)
    tally.done(int(result["result"]))
    return result


@task_type("nap", batch=500)
def nap(run: Run, due: float) -> None:
    """Sleep once, until a moment given in seconds of the epoch."""
    run.sleep_until(datetime.fromtimestamp(due, UTC))


@task_type("busy")
def busy(seconds: float) -> None:
    """Hold a process for some seconds, without the use of its processor."""
    time.sleep(seconds)
