"""Task types that repeat what they were given, everywhere a task can say something."""

from typing import Any

from taskyard import Fail, Run, task_type


@task_type("repeats")
def repeats(run: Run, text: str, notes: dict[str, Any] | None = None) -> dict[str, Any]:
    """Say the text in the progress, the log and the result."""
    run.log(text)
    run.progress(1, total=2, message=text)
    return {"text": text, "notes": notes}


@task_type("refuses")
def refuses(text: str) -> None:
    """Fail, and say the text."""
    raise Fail("refused", text)


@task_type("breaks", max_attempts=1)
def breaks(text: str) -> None:
    """Break with the text in the exception."""
    raise ValueError(text)


@task_type("weighs")
def weighs(weight: float) -> float:
    return weight


@task_type("squares", max_attempts=1)
def squares(number: int) -> int:
    return number * number
