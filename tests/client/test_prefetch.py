"""prefetch() yields the same items in order, raises the same errors, and reads a bounded number."""

import threading
from collections.abc import Iterator

import pytest

from taskyard.client.commands.prefetch import BATCH_SIZE, MAX_BATCHES, prefetch


@pytest.mark.parametrize(
    "count", [0, 1, BATCH_SIZE - 1, BATCH_SIZE, BATCH_SIZE * MAX_BATCHES * 2 + 1]
)
def test_all_items_come_in_order(count: int) -> None:
    assert list(prefetch(range(count))) == list(range(count))


def test_items_before_an_error_come_before_it() -> None:
    def items() -> Iterator[int]:
        yield from range(BATCH_SIZE + 3)
        raise ValueError("line")

    received: list[int] = []
    with pytest.raises(ValueError, match="line"):
        received.extend(prefetch(items()))
    # `extend` keeps the items that it received before the error.
    assert received == list(range(BATCH_SIZE + 3))


def test_it_reads_a_bounded_number_of_items_ahead() -> None:
    produced: list[int] = []
    enough, too_many = threading.Event(), threading.Event()
    most = BATCH_SIZE * (MAX_BATCHES + 2)

    def items() -> Iterator[int]:
        for number in range(2 * most):
            produced.append(number)
            if len(produced) >= BATCH_SIZE * MAX_BATCHES:
                enough.set()
            if len(produced) > most:
                too_many.set()
            yield number

    items_in_order = prefetch(items())
    next(items_in_order)
    assert enough.wait(5)
    assert not too_many.wait(0.2)
    assert list(items_in_order) == list(range(1, 2 * most))
