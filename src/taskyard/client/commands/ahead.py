"""The next items are made while the last are being sent."""

import threading
from collections.abc import Iterable, Iterator
from queue import Queue
from typing import TypeVar

# A thread is asked for many at once: one by one, asking costs as much as making.
TOGETHER = 250
AT_MOST = 8
T = TypeVar("T")
Made = tuple[list[T], Exception | None]


def ahead(items: Iterable[T]) -> Iterator[T]:
    """The same items in the same order, then what they raise; made in a thread that runs ahead.

    At most ``AT_MOST`` times ``TOGETHER`` are made before they are asked for. Where nobody asks
    for the rest, the thread waits for the end of the process.
    """
    ready: Queue[Made[T] | None] = Queue(AT_MOST)
    threading.Thread(target=_make, args=(items, ready), daemon=True).start()
    while (made := ready.get()) is not None:
        some, error = made
        yield from some
        if error is not None:
            raise error


def _make(items: Iterable[T], ready: "Queue[Made[T] | None]") -> None:
    some: list[T] = []
    try:
        for item in items:
            some.append(item)
            if len(some) == TOGETHER:
                ready.put((some, None))
                some = []
    except Exception as error:  # it is raised where it is waited for
        ready.put((some, error))
    else:
        ready.put((some, None))
        ready.put(None)
