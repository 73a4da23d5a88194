"""After a commit: notify workers of work, and publish changes to streams.

Notifications only reduce latency. They go through the broker (``wakeup``, ``hints``) unless others
are registered. In our own web process a thread sends them, so that no request waits for the broker
and many requests share its round trips. In other processes they are sent in place.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from queue import Empty, SimpleQueue
from weakref import ReferenceType, WeakKeyDictionary, ref

from django.db import DEFAULT_DB_ALIAS, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from taskyard.core import hints, wakeup
from taskyard.core.types import Change

STOP_SECONDS = 3.0
# The thread sends the first batch at once. Then it waits, the longer the more batches it has sent,
# so that the batches that follow are sent together.
WAIT_SECONDS_PER_BATCH, LONGEST_WAIT_SECONDS = 0.003, 0.010
QueueNotifier = Callable[[str], None]
ChangePublisher = Callable[[list[Change]], None]
logger = logging.getLogger(__name__)

_notify_queue: QueueNotifier | None = wakeup.notify
_publish_changes: ChangePublisher | None = hints.publish


def register_queue_notifier(notify: QueueNotifier) -> None:
    """Call ``notify(queue)`` when a queue has new work. It must be bounded in time, not raise."""
    global _notify_queue
    _notify_queue = notify


def register_change_publisher(publish: ChangePublisher) -> None:
    """Call ``publish(changes)`` when tasks have changed. It must be bounded in time, not raise."""
    global _publish_changes
    _publish_changes = publish


@dataclass(eq=False)
class Batch:
    """What is to be sent together: the queues with new work, and the changes."""

    queues: set[str]
    changes: list[Change]
    # The batch of the next call in the same transaction. Only Django's list of calls at the commit
    # keeps a batch, so the rollback of its savepoint drops it.
    next: "ReferenceType[Batch] | None" = None


_latest: "WeakKeyDictionary[BaseDatabaseWrapper, ReferenceType[Batch]]" = WeakKeyDictionary()


def on_commit(*, queues: Iterable[str] = (), changes: Iterable[Change] = ()) -> None:
    """Notify of work in these queues and of these changes when the transaction has committed.

    All calls in a transaction are sent together, because each would cost a round trip to the
    broker.
    """
    batch = Batch(set(queues), list(changes))
    if not batch.queues and not batch.changes:
        return
    connection = connections[DEFAULT_DB_ALIAS]
    if connection.in_atomic_block:
        if (latest := _latest.get(connection)) and (before := latest()):
            before.next = ref(batch)
        _latest[connection] = ref(batch)
    transaction.on_commit(partial(_pass_on, batch))


class Notifier(threading.Thread):
    """Sends the batches that were committed; those that came in the meantime together."""

    def __init__(self) -> None:
        super().__init__(name="notifier", daemon=True)
        self._inbox: SimpleQueue[Batch | None] = SimpleQueue()

    def put(self, batch: Batch) -> None:
        self._inbox.put(batch)

    def run(self) -> None:
        stopping = False
        while not stopping:
            items = [self._inbox.get(), *self._queued()]
            batches = [item for item in items if item is not None]
            stopping = len(batches) < len(items)
            try:
                _send(batches)
            except Exception:
                logger.exception("not announced")
            time.sleep(min(len(batches) * WAIT_SECONDS_PER_BATCH, LONGEST_WAIT_SECONDS))

    def stop(self) -> None:
        """Send the rest; wait for that up to ``STOP_SECONDS``."""
        self._inbox.put(None)
        self.join(STOP_SECONDS)

    def _queued(self) -> Iterable[Batch | None]:
        while True:
            try:
                yield self._inbox.get_nowait()
            except Empty:
                return


_notifier: Notifier | None = None


def start() -> None:
    """From now on a thread of this process sends."""
    global _notifier
    _notifier = Notifier()
    _notifier.start()


def stop() -> None:
    """Send the rest; from now on the notifications of this process are sent in place."""
    global _notifier
    if _notifier is not None:
        _notifier.stop()
    _notifier = None


def _pass_on(batch: Batch) -> None:
    following = batch.next and batch.next()
    if following:
        following.queues |= batch.queues
        batch.changes += following.changes
        following.changes = batch.changes
    elif _notifier is not None:
        _notifier.put(batch)
    else:
        _send([batch])


def _send(batches: list[Batch]) -> None:
    if _notify_queue is not None:
        for queue in set().union(*(batch.queues for batch in batches)):
            _notify_queue(queue)
    changes = [change for batch in batches for change in batch.changes]
    if _publish_changes is not None and changes:
        _publish_changes(changes)
