"""The built-in types: their inputs and results."""

import json
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from taskyard.catalog import builtin  # noqa: F401  # registers sum and countdown
from taskyard.catalog.run import Run, Suspend
from taskyard.catalog.schema import InvalidInput
from taskyard.catalog.task_type import registry

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
SUM = registry.get("sum")
COUNTDOWN = registry.get("countdown")


def new_run(*, slept: int = 0, now: datetime = NOON) -> Run:
    return Run(task_id=1, attempt=1, started_at=NOON, now=now, slept=slept)


@pytest.mark.parametrize(
    ("numbers", "total"),
    [
        ([1, 2, 3], 6),
        ([0.1, 0.2, 0.3], 0.6),
        ([2**53 - 1] * 10_000, (2**53 - 1) * 10_000),
        ([-5, 5], 0),
        ([1, 0.5], 1.5),
    ],
)
def test_sums_are_exact(numbers: list[float], total: float) -> None:
    result = SUM.call(new_run(), json.dumps({"numbers": numbers}))["result"]
    assert result == total
    assert type(result) is type(total)


@pytest.mark.parametrize(
    ("input_data", "path", "code"),
    [
        ({}, ("numbers",), "missing"),
        ({"numbers": []}, ("numbers",), "too_short"),
        ({"numbers": [1] * 10_001}, ("numbers",), "too_long"),
        ({"numbers": [1, True]}, ("numbers", 1), "float_type"),
        ({"numbers": ["1"]}, ("numbers", 0), "float_type"),
        ({"numbers": [None]}, ("numbers", 0), "float_type"),
        ({"numbers": [2**53]}, ("numbers", 0), "less_than_equal"),
        ({"numbers": [-1e300]}, ("numbers", 0), "greater_than_equal"),
        ({"numbers": [float("nan")]}, ("numbers", 0), "finite_number"),
        ({"numbers": [1], "more": 1}, ("more",), "extra_forbidden"),
        ({"numbers": "1,2"}, ("numbers",), "list_type"),
        ([1, 2], (), "model_type"),
        (None, (), "model_type"),
    ],
)
def test_sum_refuses_other_input_and_says_where(
    input_data: Any, path: tuple[str | int, ...], code: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        SUM.validate(input_data)
    assert [(field_error.path, field_error.code) for field_error in caught.value.field_errors] == [
        (path, code)
    ]


@pytest.mark.parametrize("seconds", [0, -1, 1.5, "5", True, 3601, 10**9, None])
def test_countdown_takes_whole_seconds_up_to_an_hour(seconds: Any) -> None:
    with pytest.raises(InvalidInput):
        COUNTDOWN.validate({"seconds": seconds})


@pytest.mark.parametrize("seconds", [1, 2, 5, 19, 20, 21, 100, 3600])
def test_a_countdown_waits_exactly_its_time_whoever_wakes_it(seconds: int) -> None:
    now, slept, marks = NOON, 0, []
    while True:
        run = new_run(slept=slept, now=now)
        try:
            result = COUNTDOWN.call(run, json.dumps({"seconds": seconds}))
            break
        except Suspend as suspend:
            marks.append(run.last_progress)
            now = suspend.wake_at + timedelta(milliseconds=random.randint(0, 900))
            slept = run.slept
    assert result == {"message": "Обратный отсчёт завершён"}
    assert timedelta(seconds=seconds) <= now - NOON < timedelta(seconds=seconds + 1)
    assert len(marks) == len(set(marks)) <= 20
