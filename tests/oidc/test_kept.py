"""What is kept of the provider: for how long, and how often it is fetched."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from taskyard.accounts.errors import SsoUnavailable
from taskyard.accounts.oidc.http import BadAnswer
from taskyard.accounts.oidc.kept import (
    FRESH_SECONDS,
    PAUSE_AFTER_FAILURE_SECONDS,
    PAUSE_SECONDS,
    USABLE_SECONDS,
    Kept,
)


class Source:
    """A document with a number of its own, and a clock. ``is_down`` makes it fail."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.fetches = 0
        self.is_down = False
        self.kept: Kept[dict[str, Any]] = Kept("document", self.fetch, clock=lambda: self.now)

    def fetch(self) -> dict[str, Any]:
        self.fetches += 1
        if self.is_down:
            raise BadAnswer("down")
        return {"number": self.fetches}


@pytest.fixture
def source() -> Source:
    return Source()


def until(is_true: Callable[[], bool]) -> None:
    """Wait for a thread."""
    waited = threading.Event()
    for _ in range(500):
        if is_true():
            return
        waited.wait(0.01)
    raise AssertionError


def test_it_is_fetched_once_while_it_is_fresh(source: Source) -> None:
    assert source.kept.recall() is None
    assert source.kept.get() == {"number": 1}
    source.now += FRESH_SECONDS - 1
    assert source.kept.get() == source.kept.recall() == {"number": 1}
    assert source.fetches == 1


def test_an_older_one_is_renewed_in_the_background(source: Source) -> None:
    source.kept.get()
    source.now += FRESH_SECONDS
    assert source.kept.recall() == {"number": 1}
    until(lambda: source.kept.recall() == {"number": 2})
    assert source.kept.recall() == {"number": 2}


def test_it_serves_for_an_hour_without_the_provider(source: Source) -> None:
    source.kept.get()
    source.is_down = True
    source.now += USABLE_SECONDS - 1
    assert source.kept.get() == {"number": 1}
    until(lambda: source.fetches == 2)
    source.now += 1
    assert source.kept.recall() is None
    with pytest.raises(SsoUnavailable):
        source.kept.get()
    source.is_down = False
    source.now += PAUSE_AFTER_FAILURE_SECONDS
    assert source.kept.get()["number"] == source.fetches


def test_a_failure_is_tried_again_after_a_pause(source: Source) -> None:
    source.is_down = True
    for _ in range(3):
        with pytest.raises(SsoUnavailable):
            source.kept.get()
    assert source.fetches == 1
    source.now += PAUSE_AFTER_FAILURE_SECONDS
    source.is_down = False
    assert source.kept.get() == {"number": 2}


def test_what_asks_for_another_one_waits_for_the_pause(source: Source) -> None:
    source.kept.get()
    for _ in range(3):
        assert source.kept.renewed() == {"number": 1}
    source.now += PAUSE_SECONDS
    assert source.kept.renewed() == {"number": 2}


def test_a_young_one_is_asked_for(source: Source) -> None:
    source.kept.get()
    source.now += PAUSE_SECONDS
    assert source.kept.get(younger_than=PAUSE_SECONDS) == {"number": 2}
    source.is_down = True
    source.now += PAUSE_SECONDS
    with pytest.raises(SsoUnavailable):
        source.kept.get(younger_than=PAUSE_SECONDS)
    assert source.kept.get() == {"number": 2}


def test_a_provider_that_hangs_holds_few_threads(source: Source) -> None:
    hanging, going_on = threading.Event(), threading.Event()

    def fetch() -> dict[str, Any]:
        hanging.set()
        going_on.wait(10)
        return {"number": 1}

    kept = Kept("document", fetch)
    answers: list[Any] = []

    def ask() -> None:
        try:
            answers.append(kept.get())
        except SsoUnavailable:
            answers.append(None)

    threads = [threading.Thread(target=ask) for _ in range(12)]
    threads[0].start()
    assert hanging.wait(10)
    for thread in threads[1:]:
        thread.start()
    until(lambda: len(answers) == 9)  # one fetches, two wait, and the others are refused
    assert answers == [None] * 9
    going_on.set()
    for thread in threads:
        thread.join(10)
    assert answers[9:] == [{"number": 1}] * 3
