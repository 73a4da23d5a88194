"""The prefetch yields the same items and errors in the same order, and holds few of them."""

import threading
from collections.abc import Iterator

import pytest

from taskyard.client.commands.ahead import AT_MOST, TOGETHER, ahead


@pytest.mark.parametrize("count", [0, 1, TOGETHER - 1, TOGETHER, TOGETHER * AT_MOST * 2 + 1])
def test_it_gives_all_in_order(count: int) -> None:
    assert list(ahead(range(count))) == list(range(count))


def test_what_went_before_an_error_comes_before_it() -> None:
    def items() -> Iterator[int]:
        yield from range(TOGETHER + 3)
        raise ValueError("line")

    got: list[int] = []
    with pytest.raises(ValueError, match="line"):
        got.extend(ahead(items()))
    # `extend` keeps the items that came before the error.
    assert got == list(range(TOGETHER + 3))


def test_it_runs_ahead_and_not_too_far() -> None:
    made: list[int] = []
    enough, too_many = threading.Event(), threading.Event()
    most = TOGETHER * (AT_MOST + 2)

    def items() -> Iterator[int]:
        for number in range(2 * most):
            made.append(number)
            if len(made) >= TOGETHER * AT_MOST:
                enough.set()
            if len(made) > most:
                too_many.set()
            yield number

    coming = ahead(items())
    next(coming)
    assert enough.wait(5)
    assert not too_many.wait(0.2)
    assert list(coming) == list(range(1, 2 * most))
