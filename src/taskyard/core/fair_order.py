"""The order of the owners of a queue: each gets the same seconds of the processes, or by weight.

The next task is that of the owner who has used least. This is start-time fair queueing (Goyal, Vin
and Cheng, "Start-time Fair Queueing", SIGCOMM 1996) with seconds that were measured. ``floor_of``
is its virtual time: where an owner begins who comes, or who waited without being served. So no
owner keeps credit, and idle processes that an owner has used are no debt.
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


def floor_of(
    used: Mapping[Owner, float], served: Iterable[Owner], *, before: float | None
) -> float:
    """The virtual time of a queue: the least used by an owner who waits and was served lately.

    It never goes back. ``used`` are the seconds of all owners who wait; if none of them was served,
    it stays as ``before``, or is the least of all.
    """
    lately = [used[owner] for owner in served if owner in used]
    if not lately:
        return min(used.values(), default=0.0) if before is None else before
    return min(lately) if before is None else max(before, min(lately))


class Order:
    """The owners who wait in a queue, the next one first, as a process knows it for a moment.

    ``counted`` are the seconds that owners have used; who is not in it begins at the least of those
    who wait. ``running`` are the seconds of the tasks that run.
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
        self.weights = weights
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
        used = self._used[owner] + seconds / self.weights.get(owner, 1.0)
        heapq.heappush(self._heap, (used, next(self._numbers), owner))
