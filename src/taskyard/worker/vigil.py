"""Vigil: a process that has done its work waits at the bells, and is called without a message.

One process at a time waits at a queue's bell. What it waits at it holds for ``HELD_SECONDS`` and
says so again while it waits; once it dies or is stopped, bells are Celery messages again (ADR 15).
"""

import time
from collections.abc import Iterator, Sequence

from taskyard.core.redis import Breaker, BrokerAway, client
from taskyard.worker import identity
from taskyard.worker.bell import keys_of, ring

HELD_SECONDS = 2.0
# Within a drain's and a failed broker's patience: a process that waits does nothing else.
WAIT_SECONDS = 0.5

# For each queue 0 where another waits, 1 where we do, 2 where we do from now on. Nothing at all
# where a message is under way: we may be the one who has to hear it. A key may stand for several.
_HOLD = """
local answer = {}
for queue = 1, #KEYS, 4 do
    if redis.call('EXISTS', KEYS[queue]) == 1 then return {} end
    if redis.call('LLEN', KEYS[queue + 3]) > 0 then return {} end
end
for queue = 1, #KEYS, 4 do
    local holder = redis.call('GET', KEYS[queue + 1])
    local found = holder == ARGV[1] and 1 or holder and 0 or 2
    if found > 0 then redis.call('SET', KEYS[queue + 1], ARGV[1], 'PX', ARGV[2]) end
    answer[#answer + 1] = found
end
return answer
"""
# For each queue whether somebody has been called who will not come.
_RELEASE = """
local answer = {}
for queue = 1, #KEYS, 4 do
    answer[#answer + 1] = 0
    local holder = redis.call('GET', KEYS[queue + 1])
    if not holder or holder == ARGV[1] then
        redis.call('DEL', KEYS[queue + 1])
        answer[#answer] = redis.call('DEL', KEYS[queue + 2])
    end
end
return answer
"""


# That a wait was too long for the broker ends the vigil, and nothing else.
_waiting = Breaker()


class Vigil:
    """The bells at which this process waits, of those queues that it serves."""

    def __init__(self, queues: Sequence[str], holder: str) -> None:
        self._queues = queues
        self._holder = holder
        self._held: list[str] = []
        self._say_again_at = 0.0

    def bells(self) -> Iterator[str]:
        """Each queue that has to be looked at, as soon as that is known.

        The end comes when the worker drains, the broker or the database is away, or there is no
        bell to wait at.
        """
        looked_at = time.monotonic()
        try:
            while not identity.slots().draining and not identity.slots().cut_off:
                yield from self._hold()
                if not self._held:
                    return
                if (called := self._wait()) is not None:
                    yield called
                elif identity.slots().found_work_at > looked_at:
                    looked_at = time.monotonic()
                    yield from tuple(self._held)
        except BrokerAway:
            return

    def release(self) -> None:
        """Wait no more, as before a task that may take its time; whoever called rings again."""
        if self._held:
            held, self._held, self._say_again_at = self._held, [], 0.0
            end(held, self._holder)

    def _hold(self) -> list[str]:
        """Wait at whatever nobody else waits at; the queues of which this is new.

        What was committed before was rung for elsewhere, or is what the last holder left.
        """
        if time.monotonic() < self._say_again_at:
            return []
        self._say_again_at = time.monotonic() + WAIT_SECONDS
        keys = _keys(self._queues)
        with client() as redis:
            found = redis.eval(_HOLD, len(keys), *keys, self._holder, int(HELD_SECONDS * 1000))
        if not found:
            self.release()
            return []
        standing = list(zip(self._queues, found, strict=True))
        self._held = [queue for queue, how in standing if how]
        return [queue for queue, how in standing if how == 2]

    def _wait(self) -> str | None:
        """The next queue that calls; None where none does for ``WAIT_SECONDS``."""
        by_key = {keys_of(queue).calls: queue for queue in self._held}
        with client(_waiting) as redis:
            called = redis.blpop(list(by_key), timeout=WAIT_SECONDS)
        if called is None:
            return None
        queue = by_key[str(called[0])]
        # Whoever has just been heard comes last the next time.
        self._held.remove(queue)
        self._held.append(queue)
        return queue


def name(worker_id: int, process: int) -> str:
    """What a process is called where it keeps vigil."""
    return f"{worker_id}:{process}"


def end(queues: Sequence[str], holder: str = "") -> bool:
    """Nobody of this name waits any more; where nobody waits, who was called is rung for again.

    False where the broker is away.
    """
    keys = _keys(queues)
    try:
        with client() as redis:
            called = redis.eval(_RELEASE, len(keys), *keys, holder)
    except BrokerAway:
        return False
    for queue, unanswered in zip(queues, called, strict=True):
        if unanswered:
            ring(queue)
    return True


def _keys(queues: Sequence[str]) -> list[str]:
    return [key for queue in queues for key in keys_of(queue)]
