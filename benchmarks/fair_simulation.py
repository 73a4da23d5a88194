"""Simulate the order of a queue: `python -m benchmarks.fair_simulation [--tasks 1000000]`.

A discrete-event model of one queue, with the product's own rules (`taskyard.core.fair_order`)
beside two others: first come, first served, and an ideal order that knows how long each task will
run before it begins. It prints Jain's index of the seconds that owners got, shares by weight, and
the worst wait of an owner who submits a task now and then beside others who have filled the queue.
"""

import argparse
import heapq
import itertools
import random
from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from taskyard.core.fair_order import Order, floor_of

SLOTS = 8
# As the product has it (`taskyard.core.fair_queue`): how often shares are settled, how often a
# process looks at them, and who was served lately.
PASS_SECONDS, LOOK_SECONDS, SERVED_SECONDS = 1.0, 0.2, 10.0


class Job(NamedTuple):
    """A task to simulate: when it is submitted, by whom, and how long it will run."""

    at: float
    owner: int
    seconds: float


@dataclass
class Outcome:
    """What owners got until the horizon: seconds of slots, and the longest wait for a slot."""

    seconds: dict[int, float] = field(default_factory=lambda: defaultdict(float))
    worst_wait: dict[int, float] = field(default_factory=lambda: defaultdict(float))
    ended: int = 0


class FirstCome:
    """Tasks in the order of their submits."""

    def __init__(self) -> None:
        self._ready: list[tuple[int, Job]] = []

    def submit(self, number: int, job: Job) -> None:
        heapq.heappush(self._ready, (number, job))

    def take(self, now: float) -> tuple[int, Job] | None:
        return heapq.heappop(self._ready) if self._ready else None

    def end(self, number: int, job: Job, now: float) -> None:
        pass

    def tick(self, now: float) -> None:
        pass


class Ideal(FirstCome):
    """The owner who has used least, by weight; the length of each task is known in advance."""

    def __init__(self, weights: dict[int, float]) -> None:
        super().__init__()
        self._weights = weights
        self._own: dict[int, list[tuple[int, Job]]] = defaultdict(list)
        self._used: dict[int, float] = defaultdict(float)
        self._heads: list[tuple[float, int, int]] = []
        self._floor = 0.0

    def submit(self, number: int, job: Job) -> None:
        own = self._own[job.owner]
        heapq.heappush(own, (number, job))
        if len(own) == 1:
            self._used[job.owner] = max(self._used[job.owner], self._floor)
            heapq.heappush(self._heads, (self._used[job.owner], number, job.owner))

    def take(self, now: float) -> tuple[int, Job] | None:
        if not self._heads:
            return None
        self._floor, _, owner = heapq.heappop(self._heads)
        number, job = heapq.heappop(self._own[owner])
        self._used[owner] = self._floor + job.seconds / self._weights.get(owner, 1.0)
        if self._own[owner]:
            heapq.heappush(self._heads, (self._used[owner], self._own[owner][0][0], owner))
        return number, job


class Measured(FirstCome):
    """The product's rules: processes measure, and look now and then what others have measured."""

    def __init__(self, weights: dict[int, float]) -> None:
        super().__init__()
        self._weights = weights
        self._own: dict[int, deque[tuple[int, Job]]] = defaultdict(deque)
        self._shares: dict[int, float] = {}
        self._served_at: dict[int, float] = {}
        self._floor: float | None = None
        self._orders = [
            (-LOOK_SECONDS, Order((), counted={}, running={}, weights={})) for _ in range(SLOTS)
        ]
        self._measured: list[dict[int, float]] = [defaultdict(float) for _ in range(SLOTS)]
        self._running: dict[int, tuple[float, Job, int]] = {}
        self._free = deque(range(SLOTS))
        self._mean, self._count = 1.0, 0

    def submit(self, number: int, job: Job) -> None:
        self._own[job.owner].append((number, job))

    def take(self, now: float) -> tuple[int, Job] | None:
        process = self._free[0]
        for again in (False, True):
            looked_at, order = self._orders[process]
            if again or now - looked_at >= LOOK_SECONDS:
                order = self._look(process, now)
            while taken := order.take(1):
                (owner,) = taken
                if own := self._own.get(owner):
                    number, job = own.popleft()
                    if not own:
                        del self._own[owner]
                    order.put_back(owner, self._mean)
                    self._running[number] = now, job, self._free.popleft()
                    return number, job
        return None

    def _look(self, process: int, now: float) -> Order:
        for owner, seconds in self._measured[process].items():
            if owner in self._shares:
                self._shares[owner] += seconds / self._weights.get(owner, 1.0)
                self._served_at[owner] = now
        self._measured[process].clear()
        running: dict[int, float] = defaultdict(float)
        for began, job, _ in self._running.values():
            running[job.owner] += max(self._mean, now - began)
        counted = {owner: self._shares[owner] for owner in self._own if owner in self._shares}
        order = Order(self._own, counted=counted, running=running, weights=self._weights)
        self._orders[process] = (now, order)
        return order

    def end(self, number: int, job: Job, now: float) -> None:
        began, _, process = self._running.pop(number)
        self._free.append(process)
        self._measured[process][job.owner] += now - began
        self._count += 1
        self._mean += (job.seconds - self._mean) / self._count

    def tick(self, now: float) -> None:
        waiting = {owner: self._shares[owner] for owner in self._own if owner in self._shares}
        served = [owner for owner, at in self._served_at.items() if now - at < SERVED_SECONDS]
        self._floor = floor_of(waiting, served, before=self._floor)
        self._shares = {
            owner: max(self._shares.get(owner, self._floor), self._floor)
            for owner in self._own.keys() | self._shares.keys()
            if owner in self._own or self._shares[owner] > self._floor
        }


def simulate(order: FirstCome, jobs: Iterator[Job], *, until: float) -> Outcome:
    """Run the queue on SLOTS slots until a time, in seconds of the model."""
    outcome = Outcome()
    running: dict[int, tuple[float, Job]] = {}
    ends: list[tuple[float, int]] = []
    arrivals = enumerate(jobs)
    coming = next(arrivals, None)
    ticked_at = 0.0
    while coming is not None or ends:
        now = min(coming[1].at if coming else until, ends[0][0] if ends else until)
        if now >= until:
            break
        while now - ticked_at >= PASS_SECONDS:
            ticked_at += PASS_SECONDS
            order.tick(ticked_at)
        while ends and ends[0][0] <= now:
            ended, number = heapq.heappop(ends)
            began, job = running.pop(number)
            outcome.ended += 1
            outcome.seconds[job.owner] += ended - began
            order.end(number, job, ended)
        while coming is not None and coming[1].at <= now:
            order.submit(*coming)
            coming = next(arrivals, None)
        while len(running) < SLOTS and (taken := order.take(now)) is not None:
            number, job = taken
            running[number] = now, job
            heapq.heappush(ends, (now + job.seconds, number))
            outcome.worst_wait[job.owner] = max(outcome.worst_wait[job.owner], now - job.at)
    for began, job in running.values():
        outcome.seconds[job.owner] += until - began
    return outcome


def jain(shares: list[float]) -> float:
    """Jain's index of fairness: 1 if all shares are equal, 1/n if one has all."""
    return sum(shares) ** 2 / (len(shares) * sum(share**2 for share in shares))


def orders(weights: dict[int, float]) -> dict[str, FirstCome]:
    return {
        "first come": FirstCome(),
        "measured": Measured(weights),
        "ideal": Ideal(weights),
    }


def heavy(owners: int, tasks: int, lengths: list[float]) -> Iterator[Job]:
    """Owners who fill the queue at the beginning, each with tasks of its own length."""
    for _ in range(tasks // owners):
        for owner in range(owners):
            yield Job(0.0, owner, lengths[owner % len(lengths)])


def with_light(owners: int, tasks: int, *, until: float, every: float) -> Iterator[Job]:
    """Heavy owners with tasks of a second, and owner -1 with one of 0.1 s now and then."""
    chance = random.Random(7)
    light = (Job(every * number, -1, 0.1) for number in range(1, int(until / every)))
    filling = (Job(0.0, job.owner, chance.uniform(0.5, 1.5)) for job in heavy(owners, tasks, [1]))
    return heapq.merge(filling, light, key=lambda job: job.at)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=1_000_000)
    tasks = parser.parse_args().tasks
    lengths = [0.1 * number for number in range(1, 11)]
    print(f"10 owners with {tasks:,} tasks of 0.1 to 1.0 s, {SLOTS} slots, 60 s: Jain's index")
    for name, order in orders({}).items():
        outcome = simulate(order, heavy(10, tasks, lengths), until=60)
        shares = [outcome.seconds[owner] for owner in range(10)]
        print(f"  {name:20} {jain(shares):.4f}")
    weights = {0: 1.0, 1: 2.0, 2: 4.0}
    print("3 owners with weights 1:2:4, tasks of 0.5, 0.2 and 1.0 s, 60 s: shares x 7")
    for name, order in orders(weights).items():
        outcome = simulate(order, heavy(3, tasks // 10, [0.5, 0.2, 1.0]), until=60)
        whole = sum(outcome.seconds.values())
        print(f"  {name:20}", *(f"{7 * outcome.seconds[owner] / whole:.3f}" for owner in range(3)))
    for owners in (1, 10, 100):
        print(f"a light owner beside {owners} with {tasks:,} tasks of 0.5 to 1.5 s: worst wait")
        for name, order in orders({}).items():
            if name == "first come":
                continue
            jobs = with_light(owners, tasks, until=300, every=1.7)
            outcome = simulate(order, jobs, until=300)
            print(f"  {name:20} {outcome.worst_wait[-1]:.3f} s")
    print(f"all {tasks:,} tasks of 1,000 owners of 0.01 to 0.1 s, to the end")
    for name, order in orders({}).items():
        jobs = itertools.islice(heavy(1000, tasks, [0.01 * n for n in range(1, 11)]), tasks)
        outcome = simulate(order, jobs, until=1e12)
        print(f"  {name:20} {outcome.ended:,} ended")


if __name__ == "__main__":
    main()
