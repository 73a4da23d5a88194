"""Produce the next items in a thread while the caller sends the last ones."""

import threading
from collections.abc import Iterable, Iterator
from queue import Queue
from typing import TypeVar

# Passing items one by one between threads costs as much as producing them.
BATCH_SIZE = 250
MAX_BATCHES = 8
T = TypeVar("T")
Batch = tuple[list[T], Exception | None]


def prefetch(items: Iterable[T]) -> Iterator[T]:
    """Iterate over the items in order, and raise what they raise; a thread reads them ahead.

    The queue holds at most ``MAX_BATCHES`` batches of ``BATCH_SIZE`` items. If the caller stops
    early, the daemon thread blocks until the process exits.
    """
    batches: Queue[Batch[T] | None] = Queue(MAX_BATCHES)
    threading.Thread(target=_produce, args=(items, batches), daemon=True).start()
    while (produced := batches.get()) is not None:
        batch, error = produced
        yield from batch
        if error is not None:
            raise error


def _produce(items: Iterable[T], batches: "Queue[Batch[T] | None]") -> None:
    batch: list[T] = []
    try:
        for item in items:
            batch.append(item)
            if len(batch) == BATCH_SIZE:
                batches.put((batch, None))
                batch = []
    except Exception as error:  # `prefetch` raises it in the caller's thread
        batches.put((batch, error))
    else:
        batches.put((batch, None))
        batches.put(None)
