"""An idle process listens for wake-ups in Redis, so that no Celery message is needed.

One process at a time listens to a queue. It holds the queue for ``HELD_SECONDS`` and renews that
while it waits. If it dies or is stopped, wake-ups are Celery messages again (ADR 15).
"""

import time
from collections.abc import Iterator, Sequence

from taskyard.core.redis import BrokerUnavailable, CircuitBreaker, client
from taskyard.worker import identity
from taskyard.worker.wakeup import keys_of, notify

HELD_SECONDS = 2.0
# A process that waits does nothing else, so it must notice a drain and a failed broker soon.
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


# Own circuit breaker: a BLPOP timeout must not open the shared one.
_waiting = CircuitBreaker()


class IdleListener:
    """The queues to which this process listens, of those that it serves."""

    def __init__(self, queues: Sequence[str], holder: str) -> None:
        self._queues = queues
        self._holder = holder
        self._held: list[str] = []
        self._renew_at = 0.0

    def wakeups(self) -> Iterator[str]:
        """Each queue that has to be looked at, as soon as that is known.

        Ends if the worker drains, if the broker or the database is away, or if other processes
        listen to all the queues.
        """
        looked_at = time.monotonic()
        try:
            while not identity.process_table().draining and not identity.process_table().cut_off:
                yield from self._hold()
                if not self._held:
                    return
                if (called := self._wait()) is not None:
                    yield called
                elif identity.process_table().found_work_at > looked_at:
                    looked_at = time.monotonic()
                    yield from tuple(self._held)
        except BrokerUnavailable:
            return

    def release(self) -> None:
        """Stop listening, for example before a slow task. A call that came is sent to others."""
        if self._held:
            held, self._held, self._renew_at = self._held, [], 0.0
            end(held, self._holder)

    def _hold(self) -> list[str]:
        """Hold each queue to which no other process listens; the queues that are new.

        Earlier tasks were announced to another process, or the last listener left them.
        """
        if time.monotonic() < self._renew_at:
            return []
        self._renew_at = time.monotonic() + WAIT_SECONDS
        keys = _keys(self._queues)
        with client() as redis:
            found = redis.eval(_HOLD, len(keys), *keys, self._holder, int(HELD_SECONDS * 1000))
        if not found:
            self.release()
            return []
        answers = list(zip(self._queues, found, strict=True))
        self._held = [queue for queue, answer in answers if answer]
        return [queue for queue, answer in answers if answer == 2]

    def _wait(self) -> str | None:
        """The next queue that calls; None where none does for ``WAIT_SECONDS``."""
        by_key = {keys_of(queue).calls: queue for queue in self._held}
        with client(_waiting) as redis:
            called = redis.blpop(list(by_key), timeout=WAIT_SECONDS)
        if called is None:
            return None
        queue = by_key[str(called[0])]
        # BLPOP takes the first key that has a call: the queue that was served goes to the end.
        self._held.remove(queue)
        self._held.append(queue)
        return queue


def name(worker_id: int, process: int) -> str:
    """The name under which a process listens."""
    return f"{worker_id}:{process}"


def end(queues: Sequence[str], holder: str = "") -> bool:
    """Remove this listener, and notify other processes of a call that it did not answer.

    Without a name: of calls to a listener that is gone. False if the broker is away.
    """
    keys = _keys(queues)
    try:
        with client() as redis:
            called = redis.eval(_RELEASE, len(keys), *keys, holder)
    except BrokerUnavailable:
        return False
    for queue, unanswered in zip(queues, called, strict=True):
        if unanswered:
            notify(queue)
    return True


def _keys(queues: Sequence[str]) -> list[str]:
    return [key for queue in queues for key in keys_of(queue)]
