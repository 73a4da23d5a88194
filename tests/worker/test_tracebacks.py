"""The traceback that a failed attempt leaves."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from taskyard.worker.tracebacks import LIMIT_BYTES, describe, frames_of


def caught(handler: Callable[[], Any]) -> BaseException:
    with pytest.raises(BaseException) as info:  # noqa: PT011
        handler()
    return info.value


def divide(depth: int) -> float:
    return divide(depth - 1) if depth else 1 / 0


def test_the_innermost_frames_of_a_deep_failure_are_kept() -> None:
    told = describe(caught(lambda: divide(200)))
    assert told.exception_type == "ZeroDivisionError"
    assert re.search(r"test_tracebacks\.py:\d+ in divide$", told.location)
    assert told.text.endswith("ZeroDivisionError: division by zero\n")
    assert "1 / 0" in told.text
    assert len(told.text.encode()) <= LIMIT_BYTES


def test_the_location_is_in_the_authors_code() -> None:
    def parse() -> None:
        json.loads("{")

    told = describe(caught(parse))
    assert "json/decoder.py" in told.text
    assert told.location.endswith(" in parse")


def test_causes_are_told() -> None:
    def wrap() -> None:
        try:
            divide(1)
        except ZeroDivisionError as error:
            raise ValueError("no ratio") from error

    text = describe(caught(wrap)).text
    assert "ZeroDivisionError" in text.split("direct cause")[0]
    assert text.endswith("ValueError: no ratio\n")


def test_the_log_has_the_frames_without_the_words() -> None:
    def wrap() -> None:
        try:
            raise KeyError("a secret")
        except KeyError as error:
            raise ValueError("another secret") from error

    text = frames_of(caught(wrap))
    assert "secret" not in text.replace('KeyError("a secret")', "").replace(
        'ValueError("another secret")', ""
    )
    assert text.index("KeyError\n") < text.rindex("ValueError")
    assert text.count(" in wrap") == 2


@pytest.mark.parametrize("message", ["x" * 1_000_000, "ж\n" * 500_000])
def test_a_huge_message_leaves_room_for_the_frame(message: str) -> None:
    def shout() -> None:
        raise RuntimeError(message)

    text = describe(caught(shout)).text
    assert " in shout" in text
    assert len(text.encode()) <= LIMIT_BYTES


def test_what_no_database_keeps_is_left_out() -> None:
    def shout() -> None:
        raise RuntimeError("a\0b\ud800")

    text = describe(caught(shout)).text
    assert "\0" not in text
    text.encode()


def test_an_exception_without_words_is_told() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    def fail() -> None:
        raise Mute

    assert describe(caught(fail)).exception_type.endswith("Mute")
