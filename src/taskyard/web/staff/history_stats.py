"""Statistics of the last hour and day: how many tasks ended, how long they waited and ran.

The history may have millions of rows, but the cost of these queries does not grow with it.
Completions are estimated from a sample: all of the last tasks, and then the same number from each
range of ids that is four times as long as the one before. So the numbers are exact for a quiet
system, and within a few percent for a busy one. Failures are counted by their index.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.core.cache import cache
from django.db.models import FloatField, Func, Max, OuterRef, Subquery
from django.db.models.functions import Coalesce, Greatest, Left
from django.utils import timezone

from taskyard.core.engine import engine
from taskyard.core.models import AttemptTraceback, Task
from taskyard.core.states import Status

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
BUCKETS = {HOUR: 60, DAY: 48}
# The sample has all of the last EXACT ids, and SAMPLE ids of each range before them.
EXACT = 10_000
SAMPLE = 4000
MOST_FAILURES = 20_000
# Requests within this time share one computation.
CACHE_SECONDS = 10


class Epoch(Func):
    """A time as seconds since 1970, because parsing thousands of datetimes takes seconds."""

    output_field = FloatField()
    template = "EXTRACT(EPOCH FROM %(expressions)s)::float8"

    def as_sqlite(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        template = "((julianday(%(expressions)s) - 2440587.5) * 86400.0)"
        return self.as_sql(compiler, connection, template=template, **extra)


class Completion(NamedTuple):
    """A sampled task that represents ``weight`` tasks.

    ``finished`` is in seconds since 1970, ``waited`` and ``ran`` are durations in seconds.
    """

    weight: int
    queue: str
    task_type: str
    finished: float
    waited: float
    ran: float


class Failure(NamedTuple):
    """A failed task. ``exception`` is the type that the handler raised; ``location`` is the
    innermost frame in the author's code."""

    queue: str
    task_type: str
    error_code: str
    finished_at: datetime
    task_id: int
    exception: str = ""
    location: str = ""


# The message of an exception begins with its type: ``ZeroDivisionError: division by zero``.
EXCEPTION_NAME = re.compile(r"([^\W\d][\w.]{0,200})(?::|\Z)")


@dataclass(frozen=True)
class Quantiles:
    """Quantiles in seconds; None if there is no data."""

    p50: float | None
    p95: float | None


@dataclass(frozen=True, kw_only=True)
class Window:
    """The last hour or day: how many tasks ended in each of its equal parts, oldest first."""

    length: timedelta
    until: datetime
    completed: list[int]
    failed: list[int]
    waited: Quantiles
    ran: Quantiles

    @property
    def since(self) -> datetime:
        return self.until - self.length


@dataclass(frozen=True, kw_only=True)
class LastHour:
    """The last hour of one queue or task type."""

    completed: int = 0
    failed: int = 0
    ran: Quantiles = field(default_factory=lambda: Quantiles(None, None))

    @property
    def per_minute(self) -> float:
        return self.completed / 60


@dataclass(frozen=True, kw_only=True)
class History:
    """All statistics. ``estimated`` says that completions were sampled, ``cut`` that there were
    more failures than MOST_FAILURES, so that older ones were not counted."""

    hour: Window
    day: Window
    queues: dict[str, LastHour]
    types: dict[str, LastHour]
    estimated: bool
    cut: bool


def history() -> History:
    """The statistics, cached for CACHE_SECONDS."""
    cached: History = cache.get_or_set("taskyard-staff-history", _compute, CACHE_SECONDS)  # type: ignore[assignment]
    return cached


def _compute() -> History:
    now = timezone.now()
    completed = list(completions(since=now - DAY))
    failures = recent_failures(since=now - DAY)
    completed_in_hour = [each for each in completed if each.finished >= (now - HOUR).timestamp()]
    failed_in_hour = [each for each in failures if each.finished_at >= now - HOUR]
    return History(
        hour=_window(completed_in_hour, failures, length=HOUR, until=now),
        day=_window(completed, failures, length=DAY, until=now),
        queues=_last_hour_by("queue", completed_in_hour, failed_in_hour),
        types=_last_hour_by("task_type", completed_in_hour, failed_in_hour),
        estimated=any(each.weight > 1 for each in completed),
        cut=len(failures) == MOST_FAILURES,
    )


def completions(*, since: datetime) -> Iterator[Completion]:
    """A sample of the tasks that completed since a time."""
    last = Task.objects.aggregate(last=Max("id"))["last"] or 0
    weights = dict(sample_ids(last))
    tasks = Task.objects.filter(
        engine().id_in(list(weights)), status=Status.COMPLETED, finished_at__gte=since
    )
    due = Epoch(Greatest("created_at", Coalesce("run_at", "created_at")))
    began = Epoch(Coalesce("started_at", "finished_at"))
    rows: Iterable[Any] = tasks.order_by().values_list(
        "id", "queue", "task_type", due, began, Epoch("finished_at")
    )
    for task_id, queue, task_type, due_at, began_at, ended_at in rows:
        yield Completion(
            weights[task_id],
            queue,
            task_type,
            ended_at,
            max(0.0, began_at - due_at),
            max(0.0, ended_at - began_at),
        )


def sample_ids(last: int) -> Iterator[tuple[int, int]]:
    """Ids of the sample with their weights; the sample is denser near the last id."""
    yield from ((task_id, 1) for task_id in range(max(1, last - EXACT + 1), last + 1))
    reach = EXACT
    while reach < last:
        step = 3 * reach // SAMPLE
        newest, oldest = (last - reach) // step, max(0, last - 4 * reach) // step
        # One id of each cell, at a pseudo-random but constant offset. With a fixed offset, the
        # sample could miss a task type if types are submitted in turn.
        yield from (
            (cell * step + 1 + cell * 2_654_435_761 % 4_294_967_296 % step, step)
            for cell in range(oldest, newest)
        )
        reach *= 4


def recent_failures(*, since: datetime, most: int = MOST_FAILURES) -> list[Failure]:
    """The tasks that failed since a time, latest first."""
    rows = Task.objects.failed().filter(status=Status.ERROR, finished_at__gte=since)
    rows = rows.order_by("-finished_at")[:most]
    names = ("queue", "task_type", "error_code", "finished_at", "id")
    return [Failure(*row) for row in rows.values_list(*names)]


def failures_with_exceptions(*, since: datetime, most: int = MOST_FAILURES) -> list[Failure]:
    """The same failures with exceptions; without a traceback the type is from the message."""
    rows = Task.objects.failed().filter(status=Status.ERROR, finished_at__gte=since)
    traceback = AttemptTraceback.objects.filter(task_id=OuterRef("pk"), fence=OuterRef("fence"))
    rows = rows.annotate(
        exception=Subquery(traceback.values("exception_type")[:1]),
        location=Subquery(traceback.values("location")[:1]),
        head=Left("error_message", 201),
    )
    names = ("queue", "task_type", "error_code", "finished_at", "id")
    rows = rows.order_by("-finished_at")[:most]
    return [_failure(row) for row in rows.values_list(*names, "exception", "location", "head")]


def _failure(row: Sequence[Any]) -> Failure:
    *fields, exception, location, head = row
    return Failure._make((*fields, exception or _exception_name(fields[2], head), location or ""))


def _exception_name(code: str, message: str) -> str:
    """The exception type at the beginning of a message."""
    match = EXCEPTION_NAME.match(message) if code == "exception" else None
    return match[1] if match else ""


def quantiles(weighted: Iterable[tuple[float, int]]) -> Quantiles:
    """The quantiles of values with weights."""
    ordered = sorted(weighted)
    return Quantiles(_quantile(ordered, 0.5), _quantile(ordered, 0.95))


def _quantile(ordered: Sequence[tuple[float, int]], share: float) -> float | None:
    target = share * sum(weight for _, weight in ordered)
    cumulative = 0
    for value, weight in ordered:
        cumulative += weight
        if cumulative >= target:
            return value
    return None


def _window(
    completions: list[Completion], failures: list[Failure], *, length: timedelta, until: datetime
) -> Window:
    completed, failed = [0] * BUCKETS[length], [0] * BUCKETS[length]
    since = (until - length).timestamp()
    for completion in completions:
        completed[_bucket(completion.finished - since, length)] += completion.weight
    for failure in failures:
        if (seconds := failure.finished_at.timestamp() - since) >= 0:
            failed[_bucket(seconds, length)] += 1
    return Window(
        length=length,
        until=until,
        completed=completed,
        failed=failed,
        waited=quantiles((each.waited, each.weight) for each in completions),
        ran=quantiles((each.ran, each.weight) for each in completions),
    )


def _bucket(seconds: float, length: timedelta) -> int:
    """The index of the bucket for a time, in seconds since the start of the window."""
    bucket = int(seconds / length.total_seconds() * BUCKETS[length])
    # The clock of the database may be a little ahead of ours.
    return max(0, min(bucket, BUCKETS[length] - 1))


def _last_hour_by(
    name: str, completions: list[Completion], failures: list[Failure]
) -> dict[str, LastHour]:
    """The last hour for each value of the field ``name``: queue or task type."""
    ran: dict[str, list[tuple[float, int]]] = {}
    for completion in completions:
        weighted = (completion.ran, completion.weight)
        ran.setdefault(getattr(completion, name), []).append(weighted)
    failed = Counter(getattr(failure, name) for failure in failures)
    return {
        key: LastHour(
            completed=sum(weight for _, weight in ran.get(key, ())),
            failed=failed[key],
            ran=quantiles(ran.get(key, ())),
        )
        for key in {*ran, *failed}
    }
