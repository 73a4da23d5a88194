"""The fair order of queues: whose tasks a process claims next, and the count of what owners used.

A claim without a choice is one statement: if one owner waits alone, or if all that is ready is
taken. Otherwise the process asks which owners wait, and for LOOK_SECONDS it claims the tasks of
those whose turn it is. What these tasks have run it adds to ``Share`` before it looks again. So
nothing of this happens in a queue that is not shared. ``Accountant.settle`` is called once a
second, in one worker at a time.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import TypeVar

from django.db import transaction
from django.db.models.functions import Now

from taskyard.core.engine import ChosenOwners, Claimed, Locked, Waiter, engine
from taskyard.core.fair_order import Order, Owner, floor_of
from taskyard.core.models import Share, Task
from taskyard.core.querysets import Seconds
from taskyard.core.types import ClaimedTask

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
LEAST_SECONDS = 0.001
# An owner was served lately if a process has noted that within so many seconds.
SERVED_SECONDS = 10.0
# Of what was expected, so much is what the last task took.
NEWEST_SHARE = 0.2

_expected: dict[str, float] = {}
_looks: dict[str, "_Look"] = {}
# By queue: how many seconds a task is expected to run, of those that were taken last.
_pace: dict[str, float] = {}
# By queue: how many owners the next claim looks at.
_breadth: dict[str, int] = {}
# By queue: the last owner of a look that did not see all.
_last_seen: dict[str, Owner] = {}
# By task: the queue and the owner of the tasks that were taken last from a shared queue.
_taken: dict[int, tuple[str, Owner]] = {}
# By queue and owner: the seconds that were run and are not noted yet.
_used: dict[tuple[str, Owner], float] = defaultdict(float)

Taken = TypeVar("Taken", Claimed, Locked)


def expect(task_type: str, seconds: float) -> None:
    """A task of this type has run for so long in this process."""
    known = _expected.get(task_type, seconds)
    _expected[task_type] = known + NEWEST_SHARE * (seconds - known)


def expected(task_type: str) -> float:
    """How many seconds a task of this type is expected to run."""
    return max(_expected.get(task_type, UNKNOWN_SECONDS), LEAST_SECONDS)


def ran(task: ClaimedTask, seconds: float) -> None:
    """This process has run a task for so long."""
    if _taken and (of := _taken.pop(task.id, None)) is not None:
        _used[of] += seconds


class _Look:
    """What a process has seen of a queue, and whose turn it is."""

    def __init__(self, queue: str, band: int) -> None:
        self.band = band
        self.until = time.monotonic() + LOOK_SECONDS
        waiting = _next_waiting(queue, band)
        self.order = Order(
            [each.owner_id for each in waiting],
            counted={each.owner_id: each.seconds for each in waiting if each.seconds is not None},
            running=_running(queue),
            weights={each.owner_id: each.weight for each in waiting if each.weight != 1},
        )


def _next_waiting(queue: str, band: int) -> list[Waiter]:
    """The owners with ready tasks; of very many, those behind the last one of the look before."""
    after = _last_seen.pop(queue, None)
    waiting = engine().waiting(queue, band, MOST_OWNERS, after=after)
    if len(waiting) < MOST_OWNERS and after is not None:
        seen = {each.owner_id for each in waiting}
        first = engine().waiting(queue, band, MOST_OWNERS)
        waiting += [each for each in first if each.owner_id not in seen]
    elif len(waiting) >= MOST_OWNERS:
        _last_seen[queue] = next(
            each.owner_id for each in reversed(waiting) if each.owner_id is not None
        )
    return waiting


def _running(queue: str) -> dict[Owner, float]:
    """The seconds of the tasks that run: so far, or what is expected if that is more.

    Of several tasks that a process holds it runs one, so only what is expected counts.
    """
    seconds: dict[Owner, float] = defaultdict(float)
    running = Task.objects.filter(worker__isnull=False, queue=queue)
    rows = running.values_list(
        "worker_id", "process", "owner_id", "task_type", Seconds(Now(), "claimed_at")
    )[:MOST_RUNNING]
    held = Counter((worker_id, process) for worker_id, process, *_ in rows)
    for worker_id, process, owner_id, task_type, so_far in rows:
        is_alone = held[worker_id, process] == 1
        seconds[owner_id] += max(expected(task_type), (so_far or 0.0) if is_alone else 0.0)
    return seconds


def take(
    queue: str,
    most: int,
    ask: Callable[[ChosenOwners | None], Taken],
    *,
    between: Callable[[Callable[[], None]], None] = lambda note: note(),
) -> Taken:
    """Claim or lock the next tasks of a queue, ``most`` at a time, in fair order.

    ``ask`` is the statement, for any owner or for those whose turn it is. ``between`` calls what it
    is given without the locks of an answer that took nothing.
    """
    for _ in range(2):
        look = _looks.get(queue)
        if look is None or time.monotonic() >= look.until:
            taken = ask(None)
            if taken.undecided is None:
                _forget(queue)
                return taken
            between(partial(_note_used, queue))
            look = _looks[queue] = _Look(queue, taken.undecided)
        in_turn = _take_in_turn(queue, most, look, ask)
        if in_turn is not None:
            return in_turn
        _looks.pop(queue, None)
    taken = ask(None)
    # If nothing was taken, the tasks that are left are not for this process, or not at the moment.
    return taken if taken.undecided is None else taken._replace(looked_at=0)


def _forget(queue: str) -> None:
    """The queue is not shared: what was used of it does not count."""
    _looks.pop(queue, None)
    _taken.clear()
    for of in [of for of in _used if of[0] == queue]:
        del _used[of]


def _note_used(queue: str) -> None:
    """Add what this process has run of a queue to what its owners have used."""
    of_queue = {of: seconds for of, seconds in _used.items() if of[0] == queue}
    for of in of_queue:
        del _used[of]
    look = _looks.get(queue)
    weights = look.order.weights if look else {}
    seconds = {owner: used / weights.get(owner, 1.0) for (_, owner), used in of_queue.items()}
    if seconds:
        engine().add_used(queue, seconds)


def _take_in_turn(
    queue: str, most: int, look: _Look, ask: Callable[[ChosenOwners | None], Taken]
) -> Taken | None:
    """The tasks of the first owners who still have some; None if none was seen to have any."""
    each = max(1, min(most, round(QUANTUM_SECONDS / _pace.get(queue, UNKNOWN_SECONDS))))
    breadth = _breadth.get(queue, FEW_OWNERS)
    while owners := look.order.take(breadth):
        taken = ask(ChosenOwners(look.band, owners, each))
        seconds = _seconds_of(taken)
        _put_back(look.order, owners, seconds)
        if taken.rows:
            _taken.clear()
            _taken.update((row.task.id, (queue, row.owner_id)) for row in taken.rows)
            _pace[queue] = sum(seconds.values()) / len(taken.rows)
            # As many owners as a batch needs, if they have as few tasks as these.
            _breadth[queue] = max(FEW_OWNERS, 2 * len(seconds))
            # Others wait, also if these were all that was looked at.
            more = max(taken.looked_at, len(taken.rows) + bool(look.order))
            return taken._replace(looked_at=more)
        breadth *= 2
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
    """Keeps the shares of owners while several of them wait in a queue.

    One worker does this at a time.
    """

    def __init__(self) -> None:
        self._floors: dict[str, float] = {}

    def settle(self, queue: str) -> None:
        """Give owners who wait a share, none below the floor; forget them when no two wait.

        The share of an owner who is above the floor stays when its tasks are done: it goes on there
        if the owner comes again.
        """
        waiting = {each.owner_id: each.seconds for each in _waiting(queue)}
        shares = Share.objects.filter(queue=queue)
        if len(waiting) < 2:
            self._floors.pop(queue, None)
            if shares.exists():
                shares.delete()
            return
        lately = shares.filter(served_at__gt=Now() - timedelta(seconds=SERVED_SECONDS))
        floor = floor_of(
            {owner: seconds for owner, seconds in waiting.items() if seconds is not None},
            lately.values_list("owner_id", flat=True),
            before=self._floors.get(queue),
        )
        self._floors[queue] = floor
        with transaction.atomic():
            behind = shares.filter(seconds__lt=floor)
            shares.filter(id__in=behind.free()).update(seconds=floor)
            at_floor = shares.filter(seconds__lte=floor).values_list("id", "owner_id")
            done = [share_id for share_id, owner in at_floor if owner not in waiting]
            shares.filter(id__in=shares.filter(id__in=done).free()).delete()
        new = [owner for owner, seconds in waiting.items() if seconds is None]
        Share.objects.bulk_create(
            [Share(queue=queue, owner_id=owner, seconds=floor) for owner in new],
            ignore_conflicts=True,
        )


def _waiting(queue: str) -> Iterator[Waiter]:
    """The owners with ready tasks in a queue, band by band."""
    ready = Task.objects.ready_in([queue]).order_by("-band")
    band = ready.values_list("band", flat=True).first()
    while band is not None:
        yield from engine().waiting(queue, band, MOST_OWNERS)
        band = ready.filter(band__lt=band).values_list("band", flat=True).first()
