"""After a commit: bells are rung, and whoever listens is told.

Neither may be needed for anything but speed. The web gives both to a thread, so that no request
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

from taskyard.core.values import Change

STOP_SECONDS = 3.0
# The first word is passed on at once. What comes close behind it goes together, and the more that
# was, the longer the next is gathered.
TOGETHER_SECONDS, AT_MOST_SECONDS = 0.003, 0.010
News = tuple[frozenset[str], list[Change]]
logger = logging.getLogger(__name__)


def on_commit(queues: Iterable[str], changes: Iterable[Change]) -> None:
    """Ring for these queues and tell of these changes once the transaction is durable."""
    news = (frozenset(queues), list(changes))
    if any(news):
        transaction.on_commit(partial(_pass_on, news))


class Announcer(threading.Thread):
    """Says what was committed, all that has come together at once."""

    def __init__(self) -> None:
        super().__init__(name="announcer", daemon=True)
        self._inbox: SimpleQueue[News | None] = SimpleQueue()

    def put(self, news: News) -> None:
        self._inbox.put(news)

    def run(self) -> None:
        going_on = True
        while going_on:
            waiting = [self._inbox.get(), *self._at_hand()]
            news = [each for each in waiting if each is not None]
            going_on = len(news) == len(waiting)
            try:
                _say(news)
            except Exception:
                logger.exception("not announced")
            time.sleep(min(len(news) * TOGETHER_SECONDS, AT_MOST_SECONDS))

    def stop(self) -> None:
        """Say what is left, for a few seconds at most."""
        self._inbox.put(None)
        self.join(STOP_SECONDS)

    def _at_hand(self) -> Iterable[News | None]:
        while True:
            try:
                yield self._inbox.get_nowait()
            except Empty:
                return


_announcer: Announcer | None = None


def start() -> None:
    """From now on a thread of this process announces."""
    global _announcer
    _announcer = Announcer()
    _announcer.start()


def stop() -> None:
    global _announcer
    if _announcer is not None:
        _announcer.stop()
    _announcer = None


def _pass_on(news: News) -> None:
    if _announcer is not None:
        _announcer.put(news)
    else:
        _say([news])


def _say(news: list[News]) -> None:
    ring = import_string(settings.TASKYARD_BELL)
    for queue in frozenset().union(*(queues for queues, _ in news)):
        ring(queue)
    if changes := [change for _, changes in news for change in changes]:
        import_string(settings.TASKYARD_TELL)(changes)
