"""The order of the owners of a queue: each gets the same seconds of the processes, or by weight.

The next task is that of the owner who has used least. This is start-time fair queueing (Goyal, Vin
and Cheng, "Start-time Fair Queueing", SIGCOMM 1996) with seconds that were measured: ``UsedTime``
counts what each owner has used, ``Order`` says whose turn it is.
"""

import heapq
from collections.abc import Iterable, Mapping
from itertools import count

from taskyard.core.states import Priority
from taskyard.core.types import UserId

# None stands for the system tasks, which are one owner.
Owner = UserId | None
LARGEST_BAND = 2**15 - 1


def band_of(priority: int) -> int:
    """The band of a task whose priority counts between all owners of a queue."""
    return max(-LARGEST_BAND, min(priority - Priority.NORMAL, LARGEST_BAND))


class UsedTime:
    """The seconds that each owner of a queue has used, by weight.

    An owner who comes, or comes again, begins where the one is who has used least. So no owner
    keeps credit from before, and idle processes that an owner used are no debt.
    """

    def __init__(self, used: Mapping[Owner, float]) -> None:
        self.used = dict(used)

    def count(
        self,
        used: Mapping[Owner, float],
        *,
        waiting: Iterable[Owner],
        weights: Mapping[Owner, float],
    ) -> None:
        """Add the seconds that owners have used since the last call; forget who is gone.

        ``waiting`` are the owners that have ready tasks. The one of them who has used least is the
        floor for all others.
        """
        wait = set(waiting)
        before = self.used
        floor = min((before[owner] for owner in wait if owner in before), default=0.0)
        self.used = {
            owner: max(before.get(owner, floor), floor)
            + used.get(owner, 0.0) / weights.get(owner, 1.0)
            for owner in wait | used.keys()
        }


class Order:
    """The owners who wait in a queue, the next one first, as a process knows it for a moment.

    ``counted`` is ``UsedTime.used``; who is not in it begins at the least of those who wait.
    ``running`` are the seconds that the running tasks of owners are expected to go on.
    """

    def __init__(
        self,
        waiting: Iterable[Owner],
        *,
        counted: Mapping[Owner, float],
        running: Mapping[Owner, float],
        weights: Mapping[Owner, float],
    ) -> None:
        owners = list(waiting)
        floor = min((counted[owner] for owner in owners if owner in counted), default=0.0)
        self._weights = weights
        self._numbers = count()
        self._used: dict[Owner, float] = {}
        self._heap = [
            (
                counted.get(owner, floor) + running.get(owner, 0.0) / weights.get(owner, 1.0),
                next(self._numbers),
                owner,
            )
            for owner in owners
        ]
        heapq.heapify(self._heap)

    def __bool__(self) -> bool:
        return bool(self._heap)

    def take(self, most: int) -> list[Owner]:
        """Take out the owners whose turn it is, in their order, at most so many.

        The system tasks, which another statement claims, are alone.
        """
        taken: list[Owner] = []
        while self._heap and len(taken) < most:
            if taken and self._heap[0][2] is None:
                break
            used, _, owner = heapq.heappop(self._heap)
            self._used[owner] = used
            taken.append(owner)
            if owner is None:
                break
        return taken

    def put_back(self, owner: Owner, seconds: float) -> None:
        """The owner waits on; tasks that will run for so long were claimed: the turn is later."""
        used = self._used[owner] + seconds / self._weights.get(owner, 1.0)
        heapq.heappush(self._heap, (used, next(self._numbers), owner))
