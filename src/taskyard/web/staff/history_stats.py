"""What has been: how many ended when, how long they waited and ran.

History may have many millions of rows, and no question here costs more for it. What completed is
estimated from a sample: the last tasks all of them, and behind them ever fewer, always as many
from a stretch four times as long. So a quiet system's day is exact, and a busy one's is good to a
few percent. Failures are counted, by the index that they have.
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

from taskyard.core.engine import dialect
from taskyard.core.models import AttemptTraceback, Task
from taskyard.core.states import Status

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
BUCKETS = {HOUR: 60, DAY: 48}
# So many of the last ids are all looked up, and so many of each stretch behind them.
EXACT = 10_000
SAMPLE = 4000
MOST_FAILURES = 20_000
# Several people who look at once cost as much as one.
KEPT_SECONDS = 10


class Epoch(Func):
    """A time as seconds since 1970: to read thousands of times as times takes seconds itself."""

    output_field = FloatField()
    template = "EXTRACT(EPOCH FROM %(expressions)s)::float8"

    def as_sqlite(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        template = "((julianday(%(expressions)s) - 2440587.5) * 86400.0)"
        return self.as_sql(compiler, connection, template=template, **extra)


class Completion(NamedTuple):
    """One sampled task, which stands for ``weight`` tasks. In seconds, of the epoch and long."""

    weight: int
    queue: str
    task_type: str
    finished: float
    waited: float
    ran: float


class Failure(NamedTuple):
    """``exception`` and ``location``: what a handler raised, and the innermost own frame."""

    queue: str
    task_type: str
    error_code: str
    finished_at: datetime
    task_id: int
    exception: str = ""
    location: str = ""


# ``ZeroDivisionError: division by zero``, as the message of an exception begins.
EXCEPTION_NAME = re.compile(r"([^\W\d][\w.]{0,200})(?::|\Z)")


@dataclass(frozen=True)
class Quantiles:
    """In seconds; None where nothing was seen."""

    p50: float | None
    p95: float | None


@dataclass(frozen=True, kw_only=True)
class Window:
    """The last hour or day: how many ended in each of its equal parts, oldest first."""

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
    """Of one queue or type."""

    completed: int = 0
    failed: int = 0
    ran: Quantiles = field(default_factory=lambda: Quantiles(None, None))

    @property
    def per_minute(self) -> float:
        return self.completed / 60


@dataclass(frozen=True, kw_only=True)
class History:
    """``estimated`` where tasks stand for more than themselves; ``cut`` where failures were so
    many that the older ones were not counted."""

    hour: Window
    day: Window
    queues: dict[str, LastHour]
    types: dict[str, LastHour]
    estimated: bool
    cut: bool


def history() -> History:
    """As it was a few seconds ago."""
    kept: History = cache.get_or_set("taskyard-staff-history", _compute, KEPT_SECONDS)  # type: ignore[assignment]
    return kept


def _compute() -> History:
    now = timezone.now()
    done = list(completions(since=now - DAY))
    failures = failed(since=now - DAY)
    this_hour = [each for each in done if each.finished >= (now - HOUR).timestamp()]
    failed_now = [each for each in failures if each.finished_at >= now - HOUR]
    return History(
        hour=_window(this_hour, failures, length=HOUR, until=now),
        day=_window(done, failures, length=DAY, until=now),
        queues=_by("queue", this_hour, failed_now),
        types=_by("task_type", this_hour, failed_now),
        estimated=any(each.weight > 1 for each in done),
        cut=len(failures) == MOST_FAILURES,
    )


def completions(*, since: datetime) -> Iterator[Completion]:
    """A sample of what has completed since then."""
    last = Task.objects.aggregate(last=Max("id"))["last"] or 0
    steps = dict(sampled(last))
    found = Task.objects.filter(
        dialect().among(list(steps)), status=Status.COMPLETED, finished_at__gte=since
    )
    due = Epoch(Greatest("created_at", Coalesce("run_at", "created_at")))
    began = Epoch(Coalesce("started_at", "finished_at"))
    rows: Iterable[Any] = found.order_by().values_list(
        "id", "queue", "task_type", due, began, Epoch("finished_at")
    )
    for task_id, queue, task_type, due_at, began_at, ended_at in rows:
        yield Completion(
            steps[task_id],
            queue,
            task_type,
            ended_at,
            max(0.0, began_at - due_at),
            max(0.0, ended_at - began_at),
        )


def sampled(last: int) -> Iterator[tuple[int, int]]:
    """Ids to look up, and for how many each stands: denser the nearer they are to the last."""
    yield from ((task_id, 1) for task_id in range(max(1, last - EXACT + 1), last + 1))
    reach = EXACT
    while reach < last:
        step = 3 * reach // SAMPLE
        newest, oldest = (last - reach) // step, max(0, last - 4 * reach) // step
        # One of each cell, always the same one, and no two neighbours at the same place in
        # theirs: types that were submitted in turn are all met.
        yield from (
            (cell * step + 1 + cell * 2_654_435_761 % 4_294_967_296 % step, step)
            for cell in range(oldest, newest)
        )
        reach *= 4


def failed(*, since: datetime, most: int = MOST_FAILURES) -> list[Failure]:
    """What ended in error since then, the latest first."""
    rows = Task.objects.failed().filter(status=Status.ERROR, finished_at__gte=since)
    rows = rows.order_by("-finished_at")[:most]
    names = ("queue", "task_type", "error_code", "finished_at", "id")
    return [Failure(*row) for row in rows.values_list(*names)]


def explained(*, since: datetime, most: int = MOST_FAILURES) -> list[Failure]:
    """The same failures, each with its exception; that of an old one is read from its message."""
    rows = Task.objects.failed().filter(status=Status.ERROR, finished_at__gte=since)
    kept = AttemptTraceback.objects.filter(task_id=OuterRef("pk"), fence=OuterRef("fence"))
    rows = rows.annotate(
        exception=Subquery(kept.values("exception_type")[:1]),
        location=Subquery(kept.values("location")[:1]),
        head=Left("error_message", 201),
    )
    names = ("queue", "task_type", "error_code", "finished_at", "id")
    found = rows.order_by("-finished_at")[:most]
    kept_or_said = found.values_list(*names, "exception", "location", "head")
    return [_failure(row) for row in kept_or_said]


def _failure(row: Sequence[Any]) -> Failure:
    *known, exception, location, head = row
    return Failure._make((*known, exception or exception_of(known[2], head), location or ""))


def exception_of(code: str, message: str) -> str:
    """The type of the exception that a message begins with."""
    found = EXCEPTION_NAME.match(message) if code == "exception" else None
    return found[1] if found else ""


def quantiles(weighted: Iterable[tuple[float, int]]) -> Quantiles:
    """Of values, each with how many it stands for."""
    ordered = sorted(weighted)
    return Quantiles(_quantile(ordered, 0.5), _quantile(ordered, 0.95))


def _quantile(ordered: Sequence[tuple[float, int]], share: float) -> float | None:
    wanted = share * sum(weight for _, weight in ordered)
    passed = 0
    for value, weight in ordered:
        passed += weight
        if passed >= wanted:
            return value
    return None


def _window(
    done: list[Completion], failures: list[Failure], *, length: timedelta, until: datetime
) -> Window:
    parts = BUCKETS[length]
    completed, bad = [0] * parts, [0] * parts
    since = (until - length).timestamp()
    for each in done:
        completed[_part(each.finished - since, length)] += each.weight
    for failure in failures:
        if (into := failure.finished_at.timestamp() - since) >= 0:
            bad[_part(into, length)] += 1
    return Window(
        length=length,
        until=until,
        completed=completed,
        failed=bad,
        waited=quantiles((each.waited, each.weight) for each in done),
        ran=quantiles((each.ran, each.weight) for each in done),
    )


def _part(into_seconds: float, length: timedelta) -> int:
    # The database's clock may be a little ahead of ours.
    part = int(into_seconds / length.total_seconds() * BUCKETS[length])
    return max(0, min(part, BUCKETS[length] - 1))


def _by(name: str, done: list[Completion], failures: list[Failure]) -> dict[str, LastHour]:
    ran: dict[str, list[tuple[float, int]]] = {}
    for each in done:
        ran.setdefault(getattr(each, name), []).append((each.ran, each.weight))
    bad = Counter(getattr(each, name) for each in failures)
    return {
        key: LastHour(
            completed=sum(weight for _, weight in ran.get(key, ())),
            failed=bad[key],
            ran=quantiles(ran.get(key, ())),
        )
        for key in {*ran, *bad}
    }
