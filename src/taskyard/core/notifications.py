"""After a commit: notify workers of work, and streams of changes.

Notifications only reduce latency. The web gives both to a thread, so that no request
waits for the broker and many requests share its round trips; elsewhere they are said in place.
"""

import logging
import threading
import time
from collections.abc import Iterable
from functools import partial
from queue import Empty, SimpleQueue

from django.conf import settings
from django.db import transaction
from django.utils.module_loading import import_string

from taskyard.core.types import Change

STOP_SECONDS = 3.0
# The first word is passed on at once. What comes close behind it goes together, and the more that
# was, the longer the next is gathered.
TOGETHER_SECONDS, AT_MOST_SECONDS = 0.003, 0.010
Batch = tuple[frozenset[str], list[Change]]
logger = logging.getLogger(__name__)


def on_commit(queues: Iterable[str], changes: Iterable[Change]) -> None:
    """Notify of work in these queues and of these changes once the transaction is durable."""
    news = (frozenset(queues), list(changes))
    if any(news):
        transaction.on_commit(partial(_pass_on, news))


class Notifier(threading.Thread):
    """Says what was committed, all that has come together at once."""

    def __init__(self) -> None:
        super().__init__(name="announcer", daemon=True)
        self._inbox: SimpleQueue[Batch | None] = SimpleQueue()

    def put(self, news: Batch) -> None:
        self._inbox.put(news)

    def run(self) -> None:
        going_on = True
        while going_on:
            waiting = [self._inbox.get(), *self._at_hand()]
            news = [each for each in waiting if each is not None]
            going_on = len(news) == len(waiting)
            try:
                _send(news)
            except Exception:
                logger.exception("not announced")
            time.sleep(min(len(news) * TOGETHER_SECONDS, AT_MOST_SECONDS))

    def stop(self) -> None:
        """Say what is left, for a few seconds at most."""
        self._inbox.put(None)
        self.join(STOP_SECONDS)

    def _at_hand(self) -> Iterable[Batch | None]:
        while True:
            try:
                yield self._inbox.get_nowait()
            except Empty:
                return


_notifier: Notifier | None = None


def start() -> None:
    """From now on a thread of this process announces."""
    global _notifier
    _notifier = Notifier()
    _notifier.start()


def stop() -> None:
    global _notifier
    if _notifier is not None:
        _notifier.stop()
    _notifier = None


def _pass_on(news: Batch) -> None:
    if _notifier is not None:
        _notifier.put(news)
    else:
        _send([news])


def _send(news: list[Batch]) -> None:
    notify = import_string(settings.TASKYARD_BELL)
    for queue in frozenset().union(*(queues for queues, _ in news)):
        notify(queue)
    if changes := [change for _, changes in news for change in changes]:
        import_string(settings.TASKYARD_TELL)(changes)
