"""The built-in task types. They are also examples for authors."""

import builtins
import math
from datetime import timedelta
from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

from taskyard.catalog.run import Run
from taskyard.catalog.task_type import task_type

LARGEST = 2**53 - 1
EXACT = Field(ge=-LARGEST, le=LARGEST)
Number = Annotated[int, EXACT] | Annotated[float, EXACT]
STEPS = 20


class SumResult(TypedDict):
    result: int | float


class CountdownResult(TypedDict):
    message: str


@task_type("sum", label="Sum of numbers", batch=500)
def sum(
    numbers: Annotated[
        list[Number], Field(min_length=1, max_length=10_000, description="The numbers to add")
    ],
) -> SumResult:
    """Add up numbers. Integers stay exact; with a fraction among them, the sum is rounded once."""
    if all(isinstance(number, int) for number in numbers):
        return {"result": builtins.sum(numbers)}
    return {"result": math.fsum(numbers)}


@task_type("countdown", label="Countdown", batch=500)
def countdown(
    run: Run,
    seconds: Annotated[int, Field(ge=1, le=3600, description="How long to wait, in seconds")],
) -> CountdownResult:
    """Wait for a number of seconds, then say that it is over. Holds no worker while it waits."""
    step = math.ceil(seconds / STEPS)
    for passed in range(0, seconds, step):
        run.progress(passed, total=seconds)
        run.sleep_until(run.started_at + timedelta(seconds=min(passed + step, seconds)))
    run.progress(seconds, total=seconds)
    return {"message": "Обратный отсчёт завершён"}
