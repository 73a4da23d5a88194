"""What has been: how many ended when, how long they waited and ran.

History may have many millions of rows, and no question here costs more for it. What completed is
estimated from a sample: the last tasks all of them, and behind them ever fewer, always as many
from a stretch four times as long. So a quiet system's day is exact, and a busy one's is good to a
few percent. Failures are counted, by the index that they have.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from django.core.cache import cache
from django.db.models import Max
from django.utils import timezone

from taskyard.core.models import Task
from taskyard.core.sql import dialect
from taskyard.core.states import Status

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
BUCKETS = {HOUR: 60, DAY: 48}
# So many of the last ids are all looked up, and so many of each stretch behind them.
EXACT = 20_000
SAMPLE = 4000
MOST_FAILURES = 20_000
# Several people who look at once cost as much as one.
KEPT_SECONDS = 10


class Completion(NamedTuple):
    """One sampled task, which stands for ``weight`` tasks."""

    weight: int
    queue: str
    task_type: str
    finished_at: datetime
    waited: float
    ran: float


class Failure(NamedTuple):
    queue: str
    task_type: str
    error_code: str
    finished_at: datetime
    task_id: int


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
class Past:
    """``estimated`` where tasks stand for more than themselves; ``cut`` where failures were so
    many that the older ones were not counted."""

    hour: Window
    day: Window
    queues: dict[str, LastHour]
    types: dict[str, LastHour]
    estimated: bool
    cut: bool


def past() -> Past:
    """As it was a few seconds ago."""
    kept: Past = cache.get_or_set("taskyard-staff-past", _look, KEPT_SECONDS)  # type: ignore[assignment]
    return kept


def _look() -> Past:
    now = timezone.now()
    done = list(completions(since=now - DAY))
    failures = failed(since=now - DAY)
    this_hour = [each for each in done if each.finished_at >= now - HOUR]
    failed_now = [each for each in failures if each.finished_at >= now - HOUR]
    return Past(
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
    rows = Task.objects.filter(
        dialect().among(list(steps)), status=Status.COMPLETED, finished_at__gte=since
    ).values_list("id", "queue", "task_type", "created_at", "run_at", "started_at", "finished_at")
    for task_id, queue, task_type, created_at, run_at, started_at, finished_at in rows.order_by():
        assert finished_at is not None  # noqa: S101  # the question says so
        due_at = max(created_at, run_at or created_at)
        began_at = started_at or finished_at
        yield Completion(
            steps[task_id],
            queue,
            task_type,
            finished_at,
            max(0.0, (began_at - due_at).total_seconds()),
            (finished_at - began_at).total_seconds(),
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
    since = until - length
    for each in done:
        completed[_part(each.finished_at - since, length)] += each.weight
    for failure in failures:
        if failure.finished_at >= since:
            bad[_part(failure.finished_at - since, length)] += 1
    return Window(
        length=length,
        until=until,
        completed=completed,
        failed=bad,
        waited=quantiles((each.waited, each.weight) for each in done),
        ran=quantiles((each.ran, each.weight) for each in done),
    )


def _part(into: timedelta, length: timedelta) -> int:
    # The database's clock may be a little ahead of ours.
    return max(0, min(int(into / length * BUCKETS[length]), BUCKETS[length] - 1))


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
