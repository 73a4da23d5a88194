"""The executor ends every attempt in a known way."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from taskyard.core.states import Status
from taskyard.core.types import AttemptResult, ClaimedTask
from taskyard.worker.executor import execute
from tests import task_types  # noqa: F401  # registers them

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def run(
    task_type: str, input_data: Any = None, *, attempt: int = 1, max_attempts: int = 2
) -> AttemptResult:
    return execute(
        ClaimedTask(
            id=1,
            task_type=task_type,
            fence=1,
            attempt=attempt,
            max_attempts=max_attempts,
            input_data=json.dumps(input_data or {}),
            checkpoint=None,
            slept=0,
            timeout_seconds=None,
            started_at=NOON,
            attempt_started_at=NOON,
            claimed_at=NOON,
        )
    )


def test_a_result_completes() -> None:
    ending = run("sum", {"numbers": [1, 2, 3]})
    assert (ending.status, ending.result) == (Status.COMPLETED, b'{"result":6}')


def test_no_result_completes_too() -> None:
    assert run("returns-nothing").status == Status.COMPLETED


def test_a_sleep_suspends() -> None:
    ending = run("countdown", {"seconds": 5})
    assert (ending.status, ending.resumes, ending.slept) == (Status.IN_PROGRESS, True, 1)
    assert ending.wake_at == NOON + timedelta(seconds=1)


@pytest.mark.parametrize("task_type", ["exits", "runs-out-of-memory"])
def test_nothing_that_a_handler_raises_gets_out(task_type: str) -> None:
    ending = run(task_type, attempt=2)
    assert (ending.status, ending.error_code) == (Status.ERROR, "exception")


def test_an_exception_leaves_its_traceback_without_our_frames() -> None:
    ending = run("raises", {"message": "no"})
    assert ending.traceback is not None
    assert ending.traceback.exception_type == "ValueError"
    assert " in raises" in ending.traceback.location
    assert "executor.py" not in ending.traceback.text
    assert run("fails", {"code": "no", "message": "no"}).traceback is None


def test_an_exception_is_tried_again_after_a_pause() -> None:
    ending = run("raises", {"message": "no"})
    assert (ending.status, ending.error_code) == (Status.PENDING, "exception")
    assert ending.error_message == "ValueError: no 1"
    assert ending.wake_at is not None
    assert ending.wake_at > NOON


def test_the_last_attempt_ends_in_error() -> None:
    ending = run("raises", {"message": "no"}, attempt=2)
    assert (ending.status, ending.error_message) == (Status.ERROR, "ValueError: no 2")


def test_a_handler_says_when_to_retry() -> None:
    ending = run("retries", {"after": 60.0})
    assert ending.wake_at is not None
    assert timedelta(seconds=60) <= ending.wake_at - NOON < timedelta(seconds=61)


def test_a_handler_says_how_it_failed_and_is_not_tried_again() -> None:
    ending = run("fails", {"code": "no_such_page", "message": "page 7"})
    assert (ending.status, ending.error_code) == (Status.ERROR, "no_such_page")
    assert ending.error_message == "page 7"


def test_a_message_that_no_database_keeps_is_mended() -> None:
    ending = run("mumbles")
    assert ending.error_message == "page 7 ?\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize(
    ("task_type", "input_data", "code"),
    [
        ("sum", {"numbers": "no longer valid"}, "invalid_input"),
        ("gone", {}, "unknown_task_type"),
        ("returns-a-lie", {}, "result_invalid"),
    ],
)
def test_what_trying_again_cannot_cure_is_not_tried_again(
    task_type: str, input_data: Any, code: str
) -> None:
    ending = run(task_type, input_data)
    assert (ending.status, ending.error_code) == (Status.ERROR, code)


@pytest.mark.parametrize(
    ("how", "ends"),
    [
        ("code", (Status.ERROR, "404", "no such page")),
        ("message", (Status.COMPLETED, "", "")),
        ("decimal", (Status.COMPLETED, "", "")),
        ("huge", (Status.ERROR, "exception", "OverflowError")),
        ("never", (Status.ERROR, "retry", "later")),
        ("mute", (Status.ERROR, "exception", "Mute: <exception str() failed>")),
    ],
)
def test_what_a_handler_cannot_say_of_itself_ends_it_all_the_same(
    how: str, ends: tuple[Status, str, str]
) -> None:
    ending = run("misspeaks", {"how": how}, attempt=2)
    assert (ending.status, ending.error_code, ending.error_message) == ends


def test_a_pause_without_end_is_ten_years() -> None:
    ending = run("misspeaks", {"how": "never"})
    assert ending.wake_at is not None
    assert ending.wake_at - NOON >= timedelta(days=3650)


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (["sleep", "bug"], "exception"),
        (["sleep", "retry"], "retry"),
        (["retry", "bug"], "exception"),
        (["bug", "fail"], "gone"),
        (["fail", "cancelled"], "cancelled_by_handler"),
        (["bug", "timeout"], "timeout"),
        (["fail"], "gone"),
    ],
)
def test_of_what_is_raised_together_one_decides(raised: list[str], code: str) -> None:
    assert run("raises-together", {"raised": raised}).error_code == code


def test_the_longest_of_several_sleeps_is_slept() -> None:
    ending = run("raises-together", {"raised": ["sleep", "sleep-longer", "sleep"]})
    assert ending.wake_at is not None
    assert (ending.status, ending.wake_at.year) == (Status.IN_PROGRESS, 2041)


def test_a_coroutine_runs_and_the_loop_is_kept() -> None:
    first = json.loads(run("async", {"does": "nothing"}).result)
    second = json.loads(run("async", {"does": "nothing"}).result)
    assert (first["loop"], first["visits"]) == (second["loop"], second["visits"])


def test_a_sync_function_may_return_a_coroutine() -> None:
    assert run("hides-a-coroutine", {"seconds": 0}).result == b'"slept"'


def test_what_a_handler_sets_in_its_context_is_not_for_the_next() -> None:
    assert [run("counts-visits").result for _ in range(2)] == [b"1", b"1"]
