"""The fair order of queues: whose tasks a process claims next, and the count of what owners used.

A claim without a choice is one statement: if one owner waits alone, or if all that is ready is
taken. Otherwise the process asks who waits, and for LOOK_SECONDS it claims the tasks of those whose
turn it is. ``Accountant.count`` is called once a second, in one worker at a time.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import TypeVar

from django.db.models import Sum
from django.db.models.functions import Greatest, Now

from taskyard.core.engine import ChosenOwners, Claimed, Locked, Waiter, engine
from taskyard.core.fair_order import Order, Owner, UsedTime
from taskyard.core.models import Share, Task
from taskyard.core.querysets import Seconds

# How long a process relies on what it has seen of a queue.
LOOK_SECONDS = 0.2
# How many owners, and how many running tasks, a process looks at.
MOST_OWNERS, MOST_RUNNING = 5_000, 1_000
# From one owner a claim takes tasks that run for so long together, or one task.
QUANTUM_SECONDS = 0.1
# How many owners a claim looks at first.
FEW_OWNERS = 8
# How long a task of a type is expected to run of which this process has run none.
UNKNOWN_SECONDS = 1.0
# Tasks that are claimed and ended in one write have begun and ended at the same moment.
LEAST_SECONDS = 0.001
# Of what was expected, so much is what the last task took.
NEWEST_SHARE = 0.2

_expected: dict[str, float] = {}
_looks: dict[str, "_Look"] = {}
# By queue: how many seconds a task is expected to run, of those that were taken last.
_pace: dict[str, float] = {}
# By queue: how many owners the next claim looks at.
_breadth: dict[str, int] = {}

Taken = TypeVar("Taken", Claimed, Locked)


def expect(task_type: str, seconds: float) -> None:
    """A task of this type has run for so long in this process."""
    known = _expected.get(task_type, seconds)
    _expected[task_type] = known + NEWEST_SHARE * (seconds - known)


def expected(task_type: str) -> float:
    """How many seconds a task of this type is expected to run."""
    return max(_expected.get(task_type, UNKNOWN_SECONDS), LEAST_SECONDS)


class _Look:
    """What a process has seen of a queue, and whose turn it is."""

    def __init__(self, queue: str, band: int) -> None:
        self.band = band
        self.until = time.monotonic() + LOOK_SECONDS
        waiting = engine().waiting(queue, band, MOST_OWNERS)
        weights = {each.owner_id: each.weight for each in waiting if each.weight != 1}
        self.order = Order(
            [each.owner_id for each in waiting],
            counted={each.owner_id: each.seconds for each in waiting if each.seconds is not None},
            running=_still_running(queue),
            weights=weights,
        )


def _still_running(queue: str) -> dict[Owner, float]:
    """The seconds that the running tasks of owners are expected to go on."""
    rest: dict[Owner, float] = defaultdict(float)
    running = Task.objects.filter(worker__isnull=False, queue=queue)
    rows = running.values_list("owner_id", "task_type", Seconds(Now(), "claimed_at"))
    for owner_id, task_type, seconds in rows[:MOST_RUNNING]:
        rest[owner_id] += max(0.0, expected(task_type) - (seconds or 0.0))
    return rest


def take(queue: str, most: int, ask: Callable[[ChosenOwners | None], Taken]) -> Taken:
    """Claim or lock the next tasks of a queue, ``most`` at a time, in fair order.

    ``ask`` is the statement, for any owner or for those whose turn it is.
    """
    for _ in range(2):
        look = _looks.get(queue)
        if look is None or time.monotonic() >= look.until:
            taken = ask(None)
            if taken.undecided is None:
                _looks.pop(queue, None)
                return taken
            look = _looks[queue] = _Look(queue, taken.undecided)
        in_turn = _take_in_turn(queue, most, look, ask)
        if in_turn is not None:
            return in_turn
        _looks.pop(queue, None)
    return ask(None)


def _take_in_turn(
    queue: str, most: int, look: _Look, ask: Callable[[ChosenOwners | None], Taken]
) -> Taken | None:
    """The tasks of the first owners who still have some; None if all were seen to have none."""
    each = max(1, min(most, round(QUANTUM_SECONDS / _pace.get(queue, UNKNOWN_SECONDS))))
    while owners := look.order.take(min(most, _breadth.get(queue, FEW_OWNERS))):
        taken = ask(ChosenOwners(look.band, owners, each))
        seconds = _seconds_of(taken)
        _put_back(look.order, owners, seconds)
        if taken.rows:
            _pace[queue] = sum(seconds.values()) / len(taken.rows)
            # As many owners as a batch needs, if they have as few tasks as these.
            _breadth[queue] = max(FEW_OWNERS, 2 * len(seconds))
            # Others wait, also if these were all that was looked at.
            more = max(taken.looked_at, len(taken.rows) + bool(look.order))
            return taken._replace(looked_at=more)
    return None


def _seconds_of(taken: Claimed | Locked) -> dict[Owner, float]:
    """How long the tasks that were taken are expected to run, by owner."""
    seconds: dict[Owner, float] = defaultdict(float)
    known: dict[str, float] = {}
    for row in taken.rows:
        name = row.task.task_type
        if name not in known:
            known[name] = expected(name)
        seconds[row.owner_id] += known[name]
    return seconds


def _put_back(order: Order, owners: Sequence[Owner], seconds: Mapping[Owner, float]) -> None:
    """Put back the owners that had tasks, later by these, and those behind them: not asked."""
    last = max((owners.index(owner) for owner in seconds), default=len(owners))
    for place, owner in enumerate(owners):
        if owner in seconds or place > last:
            order.put_back(owner, seconds.get(owner, 0.0))


class Accountant:
    """Counts what owners have used of a queue while others waited there too.

    One worker does this at a time. What it has counted is in the database, for all processes.
    """

    def __init__(self) -> None:
        self._counted: dict[str, tuple[float, str]] = {}

    def count(self, queue: str) -> None:
        """Count what was used since the last call; forget it when no two owners wait any more."""
        waiting = {each.owner_id: each for each in _waiting(queue)}
        if len(waiting) < 2:
            if self._counted.pop(queue, None) is not None or waiting:
                Share.objects.filter(queue=queue).delete()
            return
        now, snapshot = time.monotonic(), engine().snapshot()
        counted_at, before = self._counted.get(queue, (now, snapshot))
        self._counted[queue] = now, snapshot
        shares = {share.owner_id: share for share in Share.objects.filter(queue=queue)}
        used_time = UsedTime({owner: share.seconds for owner, share in shares.items()})
        used_time.count(
            _used(queue, waiting, since=(before, snapshot), seconds=now - counted_at),
            waiting=waiting,
            weights={owner: each.weight for owner, each in waiting.items()},
        )
        gone = [share.pk for owner, share in shares.items() if owner not in used_time.used]
        Share.objects.filter(pk__in=gone).delete()
        changed = []
        for owner_id, used in used_time.used.items():
            share = shares.get(owner_id, Share(queue=queue, owner_id=owner_id))
            if share.pk is None or share.seconds != used:
                share.seconds = used
                changed.append(share)
        Share.objects.bulk_create([s for s in changed if s.pk is None], ignore_conflicts=True)
        Share.objects.bulk_update([s for s in changed if s.pk is not None], ["seconds"], 500)


def _waiting(queue: str) -> Iterator[Waiter]:
    """The owners with ready tasks in a queue, band by band."""
    ready = Task.objects.ready_in([queue]).order_by("-band")
    band = ready.values_list("band", flat=True).first()
    while band is not None:
        yield from engine().waiting(queue, band, MOST_OWNERS)
        band = ready.filter(band__lt=band).values_list("band", flat=True).first()


def _used(
    queue: str, owners: Iterable[Owner], *, since: tuple[str, str], seconds: float
) -> dict[Owner, float]:
    """The seconds that owners have used in the last ``seconds``, in which a snapshot followed.

    Of tasks that have ended, only those of ``owners`` count.
    """
    used: dict[Owner, float] = defaultdict(float)
    began = Greatest("claimed_at", Now() - timedelta(seconds=seconds))
    running = Task.objects.filter(worker__isnull=False, queue=queue)
    parts = [running.annotate(took=Seconds(Now(), began))]
    if since[0] != since[1]:
        ended = Task.objects.filter(engine().ended_between(*since), queue=queue)
        ended = ended.filter(claimed_at__isnull=False)
        ended = ended.annotate(took=Greatest(Seconds("finished_at", began), LEAST_SECONDS))
        # The index of ended tasks begins with the owner.
        parts.append(ended.filter(owner_id__in=[owner for owner in owners if owner is not None]))
        if None in owners:
            parts.append(ended.filter(owner=None))
    for part in parts:
        for owner_id, took in part.order_by().values_list("owner_id").annotate(Sum("took")):
            used[owner_id] += max(0.0, took or 0.0)
    return used
