"""The timeline of a task as spans."""

from datetime import UTC, datetime, timedelta
from typing import Any

from django.utils import translation

from taskyard.core.history import PastAttempt
from taskyard.core.models import Task
from taskyard.web import timeline

START = datetime(2026, 1, 1, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def attempt(number: int, start: float, end: float | None, outcome: str) -> PastAttempt:
    failed = outcome in ("failed", "lost", "error")
    return PastAttempt(
        number=number,
        started_at=at(start),
        ended_at=None if end is None else at(end),
        outcome=outcome,
        error_code="exception" if failed else "",
        error_message="ValueError: no" if failed else "",
    )


def spans_of(task: Task, *attempts: PastAttempt) -> list[tuple[Any, ...]]:
    with translation.override("en"):
        return [
            (
                span.kind,
                span.label,
                (span.start - START).total_seconds(),
                None if span.end is None else (span.end - START).total_seconds(),
            )
            for span in timeline.build_spans(task, list(attempts))
        ]


def test_a_task_that_was_put_off_failed_and_completed() -> None:
    task = Task(created_at=at(0), run_at=at(10), finished_at=at(30), status="completed")
    spans = spans_of(task, attempt(1, 12, 15, "failed"), attempt(2, 20, 30, "completed"))
    assert spans == [
        ("wait", "Delayed", 0, 10),
        ("wait", "Waited", 10, 12),
        ("failed", "Attempt 1", 12, 15),
        ("wait", "Waited", 15, 20),
        ("run", "Attempt 2", 20, 30),
    ]


def test_what_goes_on_has_no_end() -> None:
    waiting = Task(created_at=at(0), status="pending")
    assert spans_of(waiting) == [("wait", "Waits", 0, None)]
    again = spans_of(waiting, attempt(1, 1, 2, "lost"))
    assert again[-1] == ("wait", "Waits for the next attempt", 2, None)
    running = Task(created_at=at(0), status="in_progress")
    assert spans_of(running, attempt(1, 0, None, "running")) == [("run", "Attempt 1", 0, None)]
    assert spans_of(running, attempt(1, 0, None, "suspended")) == [("sleep", "Attempt 1", 0, None)]


def test_a_task_cancelled_before_it_began() -> None:
    task = Task(created_at=at(0), finished_at=at(5), status="cancelled")
    assert spans_of(task) == [("wait", "Waited", 0, 5)]
    put_off = Task(created_at=at(0), run_at=at(100), finished_at=at(5), status="cancelled")
    assert spans_of(put_off) == [("wait", "Delayed", 0, 5)]


def test_the_strip_is_as_wide_as_it_is_long_and_every_span_is_seen() -> None:
    task = Task(created_at=at(0), finished_at=at(1000), status="completed")
    attempts = [attempt(1, 999, 999.001, "failed"), attempt(2, 999.5, 1000, "completed")]
    pieces = timeline.build_strip(timeline.build_spans(task, attempts))
    assert [piece.kind for piece in pieces] == ["wait", "failed", "wait", "run"]
    assert all(float(piece.width) > 0.5 for piece in pieces)
    assert abs(sum(float(piece.width) for piece in pieces) - 100) < 0.1
    assert float(pieces[-1].x) + float(pieces[-1].width) <= 100.01
