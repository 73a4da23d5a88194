"""Histograms of how long tasks waited and ran; they never go down when tasks are deleted.

The end of a task counts nothing. Each call of ``count`` adds the tasks that ended since the last
call, so tasks that were deleted in between are missing.
"""

import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate

from django.db import connection, transaction
from django.db.models import Case, Count, IntegerField, Sum, Value, When
from django.db.models.functions import Coalesce, Greatest

from taskyard.core import totals
from taskyard.core.engine import engine
from taskyard.core.models import DurationCount, DurationCursor, Quota, Task
from taskyard.core.querysets import Seconds, TaskQuerySet

# Upper bounds in seconds, inclusive.
BOUNDS = (0.01, 0.05, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14400.0)
LABELS = (*map(str, BOUNDS), "+Inf")
ONLY_ROW = 1
# The first step of a call looks at STEP transactions (on SQLite: ticks), the next ones at GROWTH
# times more if a step found fewer than FEW durations: each step must end within the time limit of a
# statement, and PostgreSQL also numbers the transactions of other databases. No step begins after
# SECONDS.
STEP, GROWTH, FEW = 5_000, 4, 20_000
SECONDS = 2.0

ADD = """
INSERT INTO taskyard_durationcount (measure, task_type, status, le, count, seconds)
VALUES (%s, %s, %s, %s, %s, %s)
ON CONFLICT (measure, task_type, status, le) DO UPDATE SET
    count = taskyard_durationcount.count + excluded.count,
    seconds = taskyard_durationcount.seconds + excluded.seconds
"""

Addition = tuple[str, str, str, str, int, float]
# Task type, status, indices of the bounds of the wait and the run, count, and their seconds.
Row = tuple[str, str, int | None, int | None, int, float, float]


@dataclass(frozen=True)
class Histogram:
    """The durations of a task type: how many took at most each upper bound, and their sum.

    ``buckets`` has the upper bounds in seconds, as text; the last is ``+Inf``.
    """

    task_type: str
    status: str
    buckets: list[tuple[str, int]]
    seconds: float


def histograms(measure: str) -> list[Histogram]:
    """The histograms of ``measure``: wait or run. Raises DatabaseError, InterfaceError."""
    counts: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0] * len(LABELS))
    sums: dict[tuple[str, str], float] = defaultdict(float)
    rows = DurationCount.objects.filter(measure=measure)
    for task_type, status, le, count, seconds in rows.values_list(
        "task_type", "status", "le", "count", "seconds"
    ):
        counts[task_type, status][bisect_left(BOUNDS, float(le))] += count
        sums[task_type, status] += seconds
    return [
        Histogram(*of, list(zip(LABELS, accumulate(each), strict=True)), sums[of])
        for of, each in sorted(counts.items())
    ]


def count() -> None:
    """Count the tasks that ended since the last call; the first call only notes where to begin.

    Concurrent calls count a task once. After a long pause a call may leave a rest to the next one.
    Raises DatabaseError, InterfaceError; earlier steps stay counted.
    """
    began, most = time.monotonic(), STEP
    while (counted := _step(most)) is not None and time.monotonic() - began < SECONDS:
        if counted < FEW:
            most *= GROWTH


def _step(most: int) -> int | None:
    """Count a step; how many durations, None if nothing is left or another call counts.

    Only the writing is a transaction: SQLite has one writer at a time.
    """
    found = DurationCursor.objects.filter(id=ONLY_ROW).values_list("cursor", flat=True)
    since, now = found.first(), engine().snapshot()
    if since is None:
        first = DurationCursor(id=ONLY_ROW, cursor=now)
        DurationCursor.objects.bulk_create([first], ignore_conflicts=True)
    if since in (None, now):
        return None
    until = engine().step(since, now, most)
    ended = Task.objects.filter(engine().ended_between(since, until))
    # By owner, because the index of ended tasks begins with the owner.
    system = _measured(ended.filter(owner=None))
    owned = _measured(ended.filter(owner_id__in=Quota.objects.values("user_id")))
    additions = list(_additions([*owned, *system]))
    with transaction.atomic():
        # The row stays locked until the commit. If another call has moved it, that call counts.
        if not found.filter(cursor=since).update(cursor=until):
            return None
        with connection.cursor() as cursor:
            cursor.executemany(ADD, additions)
        totals.count_system_tasks((status, count) for _, status, _, _, count, _, _ in system)
    return None if until == now else sum(count for *_, count, _ in additions)


def _measured(ended: TaskQuerySet) -> list[Row]:
    """How many of these tasks took how long."""
    measured = ended.alias(
        wait=Seconds("started_at", Greatest("created_at", Coalesce("run_at", "created_at"))),
        run=Case(
            # No attempt ran when it ended: it waited for the next one, or slept.
            When(error_code="cancelled_at_once", then=None),
            default=Seconds("finished_at", Coalesce("claimed_at", "started_at")),
        ),
    ).annotate(wait_bucket=_bucket("wait"), run_bucket=_bucket("run"))
    return list(
        measured.order_by()
        .values_list("task_type", "status", "wait_bucket", "run_bucket")
        .annotate(
            count=Count("id"),
            waited=Sum(Greatest("wait", 0.0)),
            ran=Sum(Greatest("run", 0.0)),
        )
    )


def _bucket(name: str) -> Case:
    """The index of the first bound that is not exceeded; NULL if the duration is NULL."""
    bounds = [
        When(**{f"{name}__lte": bound}, then=Value(index)) for index, bound in enumerate(BOUNDS)
    ]
    beyond = When(**{f"{name}__isnull": False}, then=Value(len(BOUNDS)))
    return Case(*bounds, beyond, output_field=IntegerField())


def _additions(rows: Iterable[Row]) -> Iterable[Addition]:
    """Split waits and runs; no row if there is nothing to measure, for example without a start."""
    counts: dict[tuple[str, str, str, str], int] = defaultdict(int)
    sums: dict[tuple[str, str, str, str], float] = defaultdict(float)
    for task_type, status, waited, ran, count, wait, run in rows:
        for measure, bucket, seconds in (("wait", waited, wait), ("run", ran, run)):
            if bucket is not None:
                of = measure, task_type, status, LABELS[bucket]
                counts[of] += count
                sums[of] += seconds
    return [(*of, count, sums[of]) for of, count in sorted(counts.items())]
