"""An idle process listens for wake-ups in Redis, so that no Celery message is needed.

One process at a time listens to a queue. It holds the queue for ``HELD_SECONDS`` and renews that
while it waits. If it dies or is stopped, wake-ups are Celery messages again (ADR 15).
"""

import time
from collections.abc import Iterator, Sequence

from taskyard.core.redis import BrokerUnavailable, CircuitBreaker, client
from taskyard.core.wakeup import keys_of, notify
from taskyard.worker import identity

HELD_SECONDS = 2.0
# While it waits, a process notices neither a drain nor a failed broker.
WAIT_SECONDS = 0.5

# Answers for each queue 0 if another process listens, 1 if we listen, 2 if we listen from now on.
# The answer is empty if a message is under way, because Celery may have to give it to this process.
# One message_sent key may stand for several messages, so the list of messages is checked too.
_HOLD = """
local answer = {}
for queue = 1, #KEYS, 4 do
    if redis.call('EXISTS', KEYS[queue]) == 1 then return {} end
    if redis.call('LLEN', KEYS[queue + 3]) > 0 then return {} end
end
for queue = 1, #KEYS, 4 do
    local holder = redis.call('GET', KEYS[queue + 1])
    local state = holder == ARGV[1] and 1 or holder and 0 or 2
    if state > 0 then redis.call('SET', KEYS[queue + 1], ARGV[1], 'PX', ARGV[2]) end
    answer[#answer + 1] = state
end
return answer
"""
# Answers for each queue 1 if a call to this listener was not answered.
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
        """Yield each queue that must be polled, as soon as that is known.

        Ends if the worker drains, if the broker or the database is away, or if other processes
        listen to all the queues.
        """
        looked_at = time.monotonic()
        try:
            while not identity.process_table().draining and not identity.process_table().cut_off:
                yield from self._hold()
                if not self._held:
                    return
                if (queue := self._wait()) is not None:
                    yield queue
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
        """Listen to each queue to which no other process listens; the queues that are new.

        The new queues must be polled, because tasks that came before notified another process, or
        the last listener did not run them.
        """
        if time.monotonic() < self._renew_at:
            return []
        self._renew_at = time.monotonic() + WAIT_SECONDS
        keys = _keys(self._queues)
        with client() as redis:
            states = redis.eval(_HOLD, len(keys), *keys, self._holder, int(HELD_SECONDS * 1000))
        if not states:
            self.release()
            return []
        by_queue = list(zip(self._queues, states, strict=True))
        self._held = [queue for queue, state in by_queue if state]
        return [queue for queue, state in by_queue if state == 2]

    def _wait(self) -> str | None:
        """The queue of the next call; None after ``WAIT_SECONDS`` without a call."""
        by_key = {keys_of(queue).calls: queue for queue in self._held}
        with client(_waiting) as redis:
            call = redis.blpop(list(by_key), timeout=WAIT_SECONDS)
        if call is None:
            return None
        queue = by_key[str(call[0])]
        # BLPOP takes the first key that has a call, so the queue that was served goes to the end.
        self._held.remove(queue)
        self._held.append(queue)
        return queue


def name(worker_id: int, process: int) -> str:
    """The name under which a process listens."""
    return f"{worker_id}:{process}"


def end(queues: Sequence[str], holder: str = "") -> bool:
    """Remove this listener, and notify other processes of a call that it did not answer.

    Without ``holder``: of a call to a listener whose key has expired. False if the broker is away.
    """
    keys = _keys(queues)
    try:
        with client() as redis:
            answers = redis.eval(_RELEASE, len(keys), *keys, holder)
    except BrokerUnavailable:
        return False
    for queue, unanswered in zip(queues, answers, strict=True):
        if unanswered:
            notify(queue)
    return True


def _keys(queues: Sequence[str]) -> list[str]:
    return [key for queue in queues for key in keys_of(queue)]
