"""The rows that the statements of the engines take, as one JSON parameter, and return."""

import json
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import orjson

from taskyard.core.states import TERMINAL
from taskyard.core.types import DEFAULTS, AttemptResult, ClaimedTask, NewTask, UserId

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# A smaller result is within the bytes that are counted for the row itself.
LEAST_RESULT_BYTES = 256


# A task that was accepted: its id, when it was created (microseconds since 1970), and whether it is
# ready. A plain tuple, because one submit may have thousands.
SubmittedRow = tuple[int, int, bool]


class ChosenOwners(NamedTuple):
    """The owners, of one band, whose tasks are next in a queue, and how many of ``each`` to take.

    The owner None, who is alone, stands for the system tasks.
    """

    band: int
    owners: Sequence[UserId | None]
    each: int


class ClaimedRow(NamedTuple):
    """A task that was claimed, and its owner."""

    task: ClaimedTask
    owner_id: UserId | None


class LockedRow(NamedTuple):
    """A ready task that was locked; its fence and attempt are those that its claim would give it.

    ``must_be_claimed`` is true for a task that may not run without a claim.
    """

    task: ClaimedTask
    must_be_claimed: bool
    owner_id: UserId | None


class Claimed(NamedTuple):
    """The tasks that were taken, in their order, and how many ready tasks were looked at.

    If the caller has to say whose turn it is, nothing was taken, and ``undecided`` is the band of
    the next tasks.
    """

    rows: list[ClaimedRow]
    looked_at: int
    undecided: int | None = None


class Locked(NamedTuple):
    """The same for tasks that were locked."""

    rows: list[LockedRow]
    looked_at: int
    undecided: int | None = None


class Waiter(NamedTuple):
    """An owner with ready tasks: the seconds that were counted (None: none yet), and the weight."""

    owner_id: UserId | None
    seconds: float | None
    weight: float


def time_of(microseconds: int) -> datetime:
    """A time that a statement returned as microseconds since 1970, which is read faster."""
    return EPOCH + timedelta(microseconds=microseconds)


def next_in(queue: str, batch_sizes: dict[str, int]) -> dict[str, Any]:
    """The parameters of a statement that takes the next ready tasks of a queue.

    One more than the largest batch is looked at, so that the caller sees whether more wait.
    """
    return {
        "queue": queue,
        "batch_sizes": json.dumps(batch_sizes, ensure_ascii=False),
        "limit": max(batch_sizes.values()) + 1,
    }


def text_of(value: Any) -> str:
    """A value as JSON text; raises ValueError for a NaN or an infinity."""
    try:
        text = orjson.dumps(value)
    except TypeError:  # integers beyond 64 bits
        text = b"null"
    if b"null" not in text:
        return text.decode()
    # orjson writes a NaN as null.
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def rows_of_new(new: Iterable[NewTask], moment: Callable[[datetime], str]) -> str:
    """New tasks as JSON rows; raises ValueError for a NaN or an infinity.

    A value that is the default is left out, because the database parses all that it is sent.
    """
    rows = []
    for task in new:
        row = {name: value for name, value in task._asdict().items() if value != DEFAULTS.get(name)}
        if task.run_at is not None:
            row["run_at"] = moment(task.run_at)
        if task.files:
            del row["files"]
        rows.append(row)
    return text_of(rows)


def rows_of(results: Iterable[AttemptResult], moment: Callable[[datetime], str]) -> str:
    """Results of attempts as JSON rows; a value that is JSON text already is not parsed again."""
    rows = []
    for result in results:
        row: dict[str, object] = {
            "id": result.task.id,
            "fence": result.task.fence,
            "attempt": result.task.attempt,
            "status": result.status.value,
        }
        if result.status in TERMINAL:
            row["terminal"] = True
            row["result"] = orjson.Fragment(result.result)
            if len(result.result) > LEAST_RESULT_BYTES:
                row["bytes"] = len(result.result)
        else:
            row["ready"] = result.wake_at is None
            row["wake_at"] = result.wake_at and moment(result.wake_at)
            row["resumes"] = result.resumes
        if result.error_code:
            row["error_code"] = result.error_code
            row["error_message"] = result.error_message
        if result.progress != "null":
            row["progress"] = orjson.Fragment(result.progress)
        if result.checkpoint != "null" or result.slept:
            row["checkpoint"] = orjson.Fragment(result.checkpoint)
            row["slept"] = result.slept
        rows.append(row)
    return orjson.dumps(rows).decode()
